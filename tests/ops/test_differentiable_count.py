"""Counts that learn: the recorded case, the limits, traced counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.ops import differentiable_count


def test_recorded_counts(golden, assert_close):
    case = golden("reduction/diffrate_rate")
    patches, cotangent = case.meta["arguments"]["patches"], case["input/cotangent"]
    for setting in case.meta["arguments"]["settings"]:
        name = setting["name"]
        candidates = differentiable_count.list_candidates(
            patches, setting["granularity"]
        )

        def compute(scores, setting=setting, candidates=candidates):
            count = differentiable_count.expect_count(scores, candidates)
            chances = differentiable_count.find_chances(scores, candidates, patches + 1)
            mask = differentiable_count.mark_kept(count, chances, setting["tokens_now"])
            return count, chances, mask, mask @ cotangent

        scores = jnp.asarray(case[f"input/{name}_scores"])
        count, chances, mask, _ = compute(scores)
        recorded = case.group(f"output/{name}")
        np.testing.assert_array_equal(candidates, recorded["candidates"])
        np.testing.assert_array_equal(count, recorded["kept"])
        np.testing.assert_array_equal(mask, recorded["mask"])
        assert_close(chances, recorded["probability"], 1e-5)
        for which, key in ((0, "kept_gradient"), (3, "mask_gradient")):
            slopes = jax.grad(lambda scores, w=which, f=compute: f(scores)[w])(scores)
            assert_close(slopes, recorded[key], 1e-4, key)


def test_one_candidate_keeps_all():
    candidates = differentiable_count.list_candidates(5, 5)
    scores = jnp.zeros(1)
    assert candidates.tolist() == [5]
    assert differentiable_count.expect_count(scores, candidates, 2) == 7
    chances = differentiable_count.find_chances(scores, candidates, 7, 2)
    np.testing.assert_array_equal(chances, np.ones(7))
    mask = differentiable_count.mark_kept(7, chances)
    np.testing.assert_array_equal(mask, np.ones(7))


@jax.jit
def mark(count, tokens_now):
    return differentiable_count.mark_kept(count, jnp.full(6, 0.3), tokens_now)


def test_both_counts_may_be_traced():
    assert mark(2, 4).tolist() == [1, 1, 0, 0, 1, 1]
    assert mark(5, 4).tolist() == [1] * 6
    assert mark(1, 6).tolist() == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("patches", "step"), [(0, 1), (4, 0)])
def test_bad_candidates(patches, step):
    with pytest.raises(ValueError, match=f"no counts from {patches} down in steps"):
        differentiable_count.list_candidates(patches, step)
