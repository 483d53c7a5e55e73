"""PiToMe's plans: the recorded ones, and what holds for any."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reduction_cases
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import energy_matching, similarity, token_merging


def count_merged(setting, num_patches):
    return math.floor(num_patches - num_patches * setting["ratio"])


def finish(plan, tokens, sizes):
    reduced, grown = token_merging.merge_tokens(plan, tokens, sizes)
    found = token_merging.find_outputs(plan, tokens.shape[1])
    return reduced, {"size": grown, "source_map": found}


def test_recorded_plans(golden, assert_close):
    case = golden("reduction/pitome_operator")

    def apply(setting, tokens):
        protected = int(setting["class_token"])
        unit = similarity.unit_vectors(jnp.asarray(case["input/metric"])[:, protected:])
        energy = energy_matching.find_energy(unit, setting["margin"], setting["alpha"])
        merge = energy_matching.merge_paired
        if setting["matched"]:
            merge = energy_matching.merge_matched
        plan = merge(unit, energy, count_merged(setting, unit.shape[1]), protected)
        sizes = jnp.asarray(case["input/size"]) if setting["sizes"] else None
        reduced, others = finish(plan, tokens, sizes)
        return reduced, {**others, "energy": energy}

    reduction_cases.holds_settings(case, assert_close, apply)


def test_recorded_plans_for_text(golden, assert_close):
    case = golden("reduction/pitome_text")

    def apply(setting, tokens):
        protected = int(setting["class_token"])
        unit = similarity.unit_vectors(jnp.asarray(case["input/metric"])[:, protected:])
        energy = energy_matching.find_gaussian_energy(unit, setting["margin"])
        count = count_merged(setting, unit.shape[1])
        plan = energy_matching.merge_paired(unit, energy, count, protected, halved=True)
        return finish(plan, tokens, None)

    reduction_cases.holds_settings(case, assert_close, apply)


@functools.partial(jax.jit, static_argnums=(1, 2))
def plan_both(metric, count, protected):
    unit = similarity.unit_vectors(metric)
    energy = energy_matching.find_energy(unit, 0.4)
    matched = energy_matching.merge_matched(unit, energy, count, protected)
    paired = energy_matching.merge_paired(unit, energy, count, protected)
    return unit, energy, matched, paired


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    patches_and_count=st.sampled_from([(2, 1), (7, 1), (7, 3), (10, 5)]),
    protected=st.sampled_from([0, 2]),
    few=st.booleans(),
)
def test_any_plan(seed, patches_and_count, protected, few):
    patches, count = patches_and_count
    metric = np.random.default_rng(seed).normal(size=(2, patches, 3))
    if few:  # equal tokens, so that ties are common
        metric = np.round(metric)
    unit, energy, *plans = plan_both(np.float32(metric), count, protected)
    cosines = np.einsum("bud,bvd->buv", unit, unit)
    num_tokens = protected + patches
    for plan in plans:
        reduction_cases.holds_together(plan, num_tokens, protected)
        assert plan.kept.shape == (2, num_tokens - count)
        found = np.asarray(token_merging.find_outputs(plan, num_tokens))
        assert (found >= 0).all()  # none is dropped
    receivers = {0: patches // 2, 1: count}  # how many outputs, the last ones
    for which, plan in enumerate(plans):
        kept = np.asarray(plan.kept) - protected
        merged = np.asarray(plan.merged) - protected
        for row in range(2):
            of = cosines[row][merged[row]][:, kept[row, -receivers[which] :]]
            chosen = np.asarray(plan.receivers[row]) - kept.shape[1]
            gained = of[np.arange(count), chosen + receivers[which]]
            np.testing.assert_allclose(gained, of.max(axis=1), atol=1e-6)
    # paired: who takes part has no less energy than anybody else
    merged = np.asarray(plans[1].merged) - protected
    kept = np.asarray(plans[1].kept)[:, protected:] - protected
    for row, energies in enumerate(np.asarray(energy)):
        rest, receiving = kept[row, :-count], kept[row, -count:]
        part = np.concatenate([merged[row], receiving])
        assert energies[part].min() >= energies[rest].max(initial=-np.inf)
        assert (energies[merged[row]] >= energies[receiving]).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_equals_is_that_of_positions(seed):
    """All tokens alike: ranks are positions, and every sender takes the first."""
    metric = np.ones((1, 6, 3), np.float32) * (1 + seed)
    _, _, matched, paired = plan_both(metric, 2, 1)
    assert matched.kept.tolist() == [[0, 5, 2, 4, 6]]
    assert matched.merged.tolist() == [[1, 3]]
    assert matched.receivers.tolist() == [[2, 2]]
    assert paired.kept.tolist() == [[0, 5, 6, 2, 4]]
    assert paired.merged.tolist() == [[1, 3]]
    assert paired.receivers.tolist() == [[3, 3]]


def test_a_plan_has_no_gradient():
    def total(metric):
        _, energy, matched, _ = plan_both(metric, 2, 1)
        tokens = jnp.ones((1, 7, 2))
        reduced, _ = token_merging.merge_tokens(matched, tokens, None)
        return reduced.sum() + energy.sum()

    metric = jax.random.normal(jax.random.key(0), (1, 6, 3))
    assert not np.asarray(jax.grad(total)(metric)).any()


@pytest.mark.parametrize(("form", "count"), [("merge_matched", 5), ("merge_paired", 4)])
@pytest.mark.parametrize("too_few", [False, True])
def test_bad_counts(form, count, too_few):
    unit, count = jnp.ones((1, 7, 2)), 0 if too_few else count
    with pytest.raises(ValueError, match=f"cannot merge {count} of 7 patches, at most"):
        getattr(energy_matching, form)(unit, jnp.ones((1, 7)), count)
