"""Which tokens stay, and in which order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import token_selection

# Few values, so that ties are common; few sizes: each costs a compilation.
SCORES = st.sampled_from([1, 2, 5, 12]).flatmap(
    lambda size: st.lists(
        st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=size, max_size=size
    )
)


@settings(max_examples=100, deadline=None)
@given(scores=SCORES, data=st.data())
def test_the_best_in_their_order_ties_by_index(scores, data):
    count = data.draw(st.integers(1, len(scores)))
    found = token_selection.top_indices(jnp.array([scores]), count)[0]
    ranked = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    assert found.tolist() == sorted(ranked[:count])


@functools.partial(jax.jit, static_argnums=2)
def there_and_back(scores, tokens, count):
    indices = token_selection.top_indices(scores, count)
    kept = token_selection.gather_tokens(tokens, indices)
    back = token_selection.scatter_tokens(kept, indices, tokens.shape[1])
    return token_selection.keep_mask(indices, tokens.shape[1]), back


@settings(max_examples=30, deadline=None)
@given(scores=SCORES, data=st.data())
def test_gather_mask_and_scatter_agree(scores, data):
    count = data.draw(st.integers(1, len(scores)))
    tokens = np.arange(2 * len(scores) * 3, dtype=np.float32) + 1
    tokens = tokens.reshape(2, len(scores), 3)
    both = np.array([scores, scores[::-1]], np.float32)
    mask, back = map(np.asarray, there_and_back(both, tokens, count))
    assert mask.sum(1).tolist() == [count, count]
    np.testing.assert_array_equal(back, tokens * mask[..., None])


@settings(max_examples=50, deadline=None)
@given(scores=SCORES, data=st.data())
def test_ranked_the_best_first_ties_by_index(scores, data):
    count = data.draw(st.integers(1, len(scores)))
    found = token_selection.rank_tokens(jnp.array([scores, scores[::-1]]), count)
    for row, given_scores in zip(found.tolist(), (scores, scores[::-1]), strict=True):
        expected = sorted(
            range(len(scores)), key=lambda index, s=given_scores: (-s[index], index)
        )
        assert row == expected[:count]


mark_traced = jax.jit(token_selection.mark_best)
mark_fixed = jax.jit(token_selection.mark_best, static_argnums=1)


@settings(max_examples=50, deadline=None)
@given(scores=SCORES, data=st.data())
def test_the_marked_are_the_ranked_for_any_count(scores, data):
    count = data.draw(st.integers(1, len(scores)))
    both = jnp.array([scores, scores[::-1]])
    ranked = token_selection.rank_tokens(both, count)
    expected = np.asarray(token_selection.keep_mask(ranked, len(scores)))
    np.testing.assert_array_equal(mark_traced(both, count), expected == 1)
    np.testing.assert_array_equal(mark_fixed(both, count), expected == 1)


def test_each_row_may_have_a_count_of_its_own():
    scores = jnp.array([[3.0, 1, 2], [3, 1, 2], [0, 0, 0]])
    found = mark_traced(scores, jnp.array([1, 3, 2]))
    assert found.tolist() == [[True, False, False], [True] * 3, [True, True, False]]


def test_protected_tokens_lead():
    found = token_selection.lead_with_protected(jnp.array([[2, 0], [1, 2]]), 2)
    assert found.tolist() == [[0, 1, 4, 2], [0, 1, 3, 4]]


@pytest.mark.parametrize("count", [0, 4])
@pytest.mark.parametrize("rank", ["top_indices", "rank_tokens"])
def test_bad_counts(count, rank):
    with pytest.raises(ValueError, match=f"cannot keep {count} of 3 tokens"):
        getattr(token_selection, rank)(jnp.zeros((1, 3)), count)


def test_min_max_is_of_each_row_and_of_any_scale():
    scores = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    scores[1] = scores[0] * 7 - 40
    found = token_selection.min_max_normalize(jnp.array(scores))
    low, high = scores.min(-1, keepdims=True), scores.max(-1, keepdims=True)
    np.testing.assert_allclose(found, (scores - low) / (high - low), atol=1e-6)
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    np.testing.assert_array_equal(found.min(-1), [0, 0, 0])
    assert not token_selection.min_max_normalize(jnp.full((1, 4), 3.0)).any()


def test_gradients_of_min_max():
    """Through both ends, by the formula; of equal ends one entry has it all."""
    weights = np.array([0.5, -1.0, 2.0, 3.0], np.float32)

    def slopes(scores, epsilon=1e-8):
        def total(scores):
            return token_selection.min_max_normalize(scores, epsilon) @ weights

        return np.asarray(jax.grad(total)(jnp.array(scores)))

    # (s - 1) / 4: (w - (sum w) e_low) / 4 - (e_high - e_low) sum(w (s - 1)) / 16
    first = np.array([1.0, 5.0, 2.0, 4.0])
    total = weights @ (first - 1)
    low, high = np.eye(4)[0], np.eye(4)[1]
    expected = (weights - weights.sum() * low) / 4 - (high - low) * total / 16
    np.testing.assert_allclose(slopes(first), expected, rtol=1e-5)
    np.testing.assert_allclose(slopes(first).sum(), 0, atol=1e-6)  # a shift is nothing
    tied = np.array([1.0, 5.0, 5.0, 1.0])
    expected = (weights - weights.sum() * low) / 4 - (high - low) * (-1 + 2) / 4
    np.testing.assert_allclose(slopes(tied), expected, rtol=1e-5)
    assert np.isfinite(slopes(np.ones(4))).all()


@jax.jit
def fused_and_gradients(tokens, scores, keep):
    def total(tokens, scores):
        weights = jax.nn.softmax(scores, axis=-1, where=keep < 0.5)
        fused = token_selection.fuse_dropped(tokens, weights, keep)
        return jnp.sum(jnp.sin(fused)), fused

    gradients, fused = jax.grad(total, (0, 1), has_aux=True)(tokens, scores)
    return fused, gradients


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 100))
def test_the_dropped_become_one_token(keep, seed):
    generator = np.random.default_rng(seed)
    keep = np.array([keep, [True, False] * 3])
    tokens = generator.normal(size=(2, 6, 3)).astype(np.float32)
    scores = generator.normal(size=(2, 6)).astype(np.float32)
    scores[:, 0] = -1e4  # weighs nothing, unless it is alone
    found, back = fused_and_gradients(tokens, scores, jnp.float32(keep))
    assert found.shape == (2, 1, 3)
    for row in range(2):
        dropped = np.flatnonzero(~keep[row])
        if not dropped.size:
            np.testing.assert_array_equal(found[row], np.zeros((1, 3)))
            continue
        weights = np.exp(scores[row, dropped] - scores[row, dropped].max())
        weights /= weights.sum()
        np.testing.assert_allclose(
            found[row, 0], weights @ tokens[row, dropped], atol=1e-5
        )
    for gradient in back:
        assert np.isfinite(gradient).all()
        assert not np.asarray(gradient)[keep].any()  # the kept have no part in it
    np.testing.assert_allclose(back[1].sum(-1), 0, atol=1e-5)


def test_weights_of_the_fused_token_are_as_given():
    """EViT's are class attention, whose sum is below 1, and which learns."""
    tokens = jnp.arange(8.0).reshape(1, 4, 2)
    weights, keep = jnp.array([[0.5, 0.25, 0.125, 0.1]]), jnp.array([[1, 0, 1, 0]])
    fused = token_selection.fuse_dropped(tokens, weights, keep == 1)
    np.testing.assert_allclose(fused[0, 0], [0.25 * 2 + 0.1 * 6, 0.25 * 3 + 0.1 * 7])
    slopes = jax.grad(
        lambda weights: token_selection.fuse_dropped(tokens, weights, keep).sum()
    )(weights)
    np.testing.assert_allclose(slopes, [[0, 5, 0, 13]])


@pytest.mark.parametrize(("left_out", "stay"), [(0.0, 8), (0.75, 2), (0.99, 1)])
def test_a_share_is_left_out_of_each_image_by_a_draw_of_its_own(left_out, stay):
    drawn = token_selection.draw_indices(jax.random.key(0), 16, 8, left_out)
    assert drawn.shape == (16, stay)
    rows = {tuple(row) for row in drawn.tolist()}
    assert all(list(row) == sorted(set(row)) and max(row) < 8 for row in rows)
    assert len(rows) > 1 or stay == 8
