"""Which tokens stay, and in which order."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import token_selection

# Few values, so that ties are common.
SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(scores=SCORES, data=st.data())
def test_the_best_in_their_order_ties_by_index(scores, data):
    count = data.draw(st.integers(1, len(scores)))
    found = token_selection.top_indices(jnp.array([scores]), count)[0]
    ranked = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    assert found.tolist() == sorted(ranked[:count])


@settings(max_examples=30, deadline=None)
@given(scores=SCORES, data=st.data())
def test_gather_mask_and_scatter_agree(scores, data):
    count = data.draw(st.integers(1, len(scores)))
    indices = token_selection.top_indices(jnp.array([scores, scores[::-1]]), count)
    tokens = jnp.arange(2.0 * len(scores) * 3).reshape(2, len(scores), 3) + 1
    kept = token_selection.gather_tokens(tokens, indices)
    mask = token_selection.keep_mask(indices, len(scores))
    back = token_selection.scatter_tokens(kept, indices, len(scores))
    assert mask.sum(1).tolist() == [count, count]
    np.testing.assert_array_equal(back, tokens * mask[..., None])


@pytest.mark.parametrize("count", [0, 4])
def test_bad_counts(count):
    with pytest.raises(ValueError, match=f"cannot keep {count} of 3 tokens"):
        token_selection.top_indices(jnp.zeros((1, 3)), count)
