"""The best stay, the others go or merge: recorded cases, and what holds for any."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reduction_cases
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import ranked_merging, token_merging, token_selection


def test_recorded_merges(golden, assert_close):
    case = golden("reduction/diffrate_merge")
    sizes = jnp.asarray(case["input/size"])

    def apply(setting, tokens):
        order = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape[:2])
        plan, cosines = ranked_merging.merge_tail(
            order, tokens, setting["kept"], int(setting["class_token"])
        )
        reduced, grown = ranked_merging.merge_plainly(plan, tokens, sizes, cosines)
        found = token_merging.find_outputs(plan, tokens.shape[1])
        others = {"size": grown, "similarity": cosines, "source_map": found}
        return reduced, others

    reduction_cases.holds_settings(case, assert_close, apply)


def test_recorded_selections(golden, assert_close):
    """EViT's choice and fused token, given the attended tokens and the scores."""
    case = golden("reduction/evit_block")
    for setting in case.meta["arguments"]["settings"]:
        recorded = case.group(f"output/{setting['name']}")
        if "indices" not in recorded:
            continue
        tokens, scores = recorded["attended"], jnp.asarray(recorded["class_attention"])
        count = setting["tokens"]
        if count is None:
            count = math.ceil(setting["keep_rate"] * scores.shape[1])
        plan = ranked_merging.select_best(scores, count)
        np.testing.assert_array_equal(plan.kept[:, 1:] - 1, recorded["indices"])
        reduced = token_merging.add_up(plan, tokens)
        if setting["fuse_token"]:
            keep = token_selection.mark_best(scores, count)
            for row, others in enumerate(recorded["others"]):
                np.testing.assert_array_equal(np.flatnonzero(~keep[row]), others)
            fused = token_selection.fuse_dropped(tokens[:, 1:], scores, keep)
            reduced = jnp.concatenate([reduced, fused], axis=1)
        assert_close(reduced, recorded["reduced"], 1e-5, setting["name"])


def draw(seed, tokens=9, dim=4):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 5, size=(2, tokens))
    return np.float32(generator.normal(size=(2, tokens, dim))), np.float32(sizes)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def gathered(tokens, sizes, kept, left, protected):
    order = jnp.broadcast_to(jnp.arange(left), (tokens.shape[0], left))
    plan, cosines = ranked_merging.merge_tail(order, tokens, kept, protected)
    return plan, ranked_merging.merge_plainly(plan, tokens, sizes, cosines)


in_place = jax.jit(ranked_merging.merge_tail_in_place, static_argnums=(4, 5))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    kept_and_left=st.sampled_from([(3, 9), (5, 6), (4, 7)]),
    protected=st.sampled_from([0, 1, 2]),
)
def test_in_place_equals_gathered(seed, kept_and_left, protected):
    (tokens, sizes), (kept, left) = draw(seed), kept_and_left
    plan, (means, grown) = gathered(tokens, sizes, kept, left, protected)
    reduction_cases.holds_together(plan, tokens.shape[1], protected)
    found, sizes_found, to = in_place(tokens, sizes, kept, left, protected, -np.inf)
    np.testing.assert_array_equal(to[:, kept:left], plan.receivers)
    assert (np.delete(to, np.s_[kept:left], axis=1) == -1).all()
    np.testing.assert_allclose(found[:, :kept], means, atol=1e-5)
    np.testing.assert_allclose(sizes_found[:, :kept], grown, atol=1e-4)
    np.testing.assert_array_equal(found[:, kept:], tokens[:, kept:])
    np.testing.assert_array_equal(sizes_found[:, left:], sizes[:, left:])


def test_in_place_a_merged_token_counts_for_one_at_least():
    tokens = jnp.array([[[1.0, 0], [0, 1], [-1, 0.1], [1, 3]]])
    sizes = jnp.array([[2.0, 1, 3, 4]])
    _, grown, _ = in_place(tokens, sizes, 2, 3, 1, 1.0)
    np.testing.assert_allclose(grown[0, :2], [2, 1 + 1])  # 3 x 0.0995 counts for 1
    _, grown, _ = in_place(tokens, sizes, 2, 4, 1, 1.0)
    np.testing.assert_allclose(grown[0, 1], 1 + 1 + 4 * 3 / math.sqrt(10), rtol=1e-6)
    same, unchanged, _ = in_place(tokens, sizes / 8, 3, 3, 1, 1.0)
    np.testing.assert_array_equal(same, tokens)
    np.testing.assert_array_equal(unchanged, sizes / 8)


def test_a_size_may_shrink():
    """The one that is most alike may point away; the protected one is no choice."""
    tokens = jnp.array([[[1.0, 0], [-1, 0], [1, 0]]])
    plan, (means, grown) = gathered(tokens, jnp.array([[1.0, 4, 3]]), 2, 3, 1)
    assert plan.receivers.tolist() == [[1]]
    np.testing.assert_allclose(means, [[[1, 0], [0, 0]]], atol=1e-6)
    np.testing.assert_allclose(grown, [[1, 4 - 3]], atol=1e-6)


def test_cosines_have_no_gradient():
    tokens, sizes = draw(3)
    slopes = jax.grad(lambda tokens: gathered(tokens, sizes, 4, 9, 1)[1][1].sum())(
        tokens
    )
    assert not np.asarray(slopes).any()
    slopes = jax.grad(lambda tokens: in_place(tokens, sizes, 4, 9, 1, 1.0)[1].sum())(
        tokens
    )
    assert not np.asarray(slopes).any()


@pytest.mark.parametrize("kept", [1, 4])
def test_bad_counts(kept):
    order = jnp.arange(4)[None]
    with pytest.raises(ValueError, match=f"cannot merge 4 tokens into {kept}, 1 of"):
        ranked_merging.merge_tail(order, jnp.ones((1, 4, 2)), kept)
