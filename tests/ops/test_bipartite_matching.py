"""ToMe's matching: recorded plans, and what every plan of it holds to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import bipartite_matching, token_merging

match_halves = jax.jit(bipartite_matching.match_halves, static_argnums=(1, 2))


@functools.partial(jax.jit, static_argnums=(2, 3))
def apply_halves(metric, inputs, count, protected):
    plan = bipartite_matching.match_halves(metric, count, protected)
    return apply(plan, *inputs)


def apply(plan, tokens, sizes, cotangent):
    """Return all that is recorded of a plan, and its part of the gradient."""

    def total(tokens):
        means, left = token_merging.merge_tokens(plan, tokens, sizes)
        return jnp.sum(means * cotangent[:, : means.shape[1]]), (means, left)

    gradient, (means, left) = jax.grad(total, has_aux=True)(tokens)
    source_map = token_merging.find_outputs(plan, tokens.shape[1])
    found = {
        "tokens": means,
        "size": left,
        "source_map": source_map,
        "unmerged": token_merging.restore_tokens(means, source_map),
        "maximum": token_merging.take_largest(plan, tokens),
        "mean": token_merging.merge_tokens(plan, tokens, None)[0],
    }
    return found, gradient


def hold_to(case, name, found, assert_close):
    """Hold to all that is recorded of a setting: the map exactly."""
    recorded = case.group(f"output/{name}")
    assert recorded
    for key, expected in recorded.items():
        if key == "source_map":
            np.testing.assert_array_equal(found[key], expected, err_msg=name)
        else:
            assert_close(found[key], expected, 1e-5, f"{name}/{key}")


@pytest.mark.parametrize(
    "name", ["tome_matching", "tome_matching_even", "tome_matching_large"]
)
def test_recorded_plans(golden, assert_close, name):
    case = golden(f"reduction/{name}")
    metric, tokens, cotangent, sizes = (
        case[f"input/{key}"] for key in ("metric", "tokens", "cotangent", "size")
    )
    gradient = 0
    for setting in case.meta["arguments"]["settings"]:
        inputs = (tokens, sizes if setting["sizes"] else None, cotangent)
        protected = setting["class_token"] + setting["distill_token"]
        found, part = apply_halves(metric, inputs, setting["r"], protected)
        hold_to(case, setting["name"], found, assert_close)
        gradient += part
    assert_close(gradient, case["grad_input/tokens"], 1e-4)


def test_recorded_other_splits(golden, assert_close):
    case = golden("reduction/tome_other_splits")
    metric, tokens, cotangent, uniforms = (
        case[f"input/{key}"] for key in ("metric", "tokens", "cotangent", "uniforms")
    )
    plans = {
        f"every_{every}": bipartite_matching.match_every(metric, every)
        for every in case.meta["arguments"]["k"]
    }
    for count in case.meta["arguments"]["random_r"]:
        plans[f"random_{count}"] = bipartite_matching.match_drawn(
            metric, count, uniforms
        )
    gradient = 0
    for name, plan in plans.items():
        found, part = jax.jit(apply)(plan, tokens, None, cotangent)
        hold_to(case, name, found, assert_close)
        gradient += part
    assert_close(gradient, case["grad_input/tokens"], 1e-4)


def test_recorded_ties_in_any_order(golden):
    """Any order of equals is right, as long as counts, sizes and means agree."""
    case = golden("reduction/tome_ties")
    metric, tokens, cotangent = (
        case[f"input/{key}"] for key in ("metric", "tokens", "cotangent")
    )
    for setting in case.meta["arguments"]["settings"]:
        count, protected = setting["r"], int(setting["class_token"])
        found, _ = apply_halves(metric, (tokens, None, cotangent), count, protected)
        recorded = case.group(f"output/{setting['name']}")
        for key in ("tokens", "size", "source_map"):
            assert found[key].shape == recorded[key].shape
        for row, source_map in enumerate(np.asarray(found["source_map"])):
            for output, size in enumerate(found["size"][row].tolist()):
                group = source_map == output
                assert size == group.sum()
                np.testing.assert_allclose(
                    found["tokens"][row, output], tokens[row, group].mean(0), atol=1e-6
                )
        if protected:
            np.testing.assert_array_equal(found["tokens"][:, 0], tokens[:, 0])


def test_equals_merge_in_the_order_of_their_positions():
    metric = jnp.ones((1, 11, 4))
    plan = match_halves(metric, 2, 1)
    assert plan.merged.tolist() == [[2, 4]]
    assert plan.kept.tolist() == [[0, 6, 8, 10, 1, 3, 5, 7, 9]]
    assert plan.receivers.tolist() == [[4, 4]]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shape=st.sampled_from([(7, 0), (8, 1), (9, 2), (11, 5), (12, 4), (12, 5), (6, 5)]),
    count=st.sampled_from([0, 1, 2, 100]),
)
def test_what_every_plan_holds_to(seed, shape, count):
    num_tokens, protected = shape
    metric = np.random.default_rng(seed).normal(size=(2, num_tokens, 3))
    plan = match_halves(jnp.float32(metric), count, protected)
    merged = min(count, (num_tokens - protected) // 2)
    assert plan.kept.shape == (2, num_tokens - merged)
    unit = metric / np.linalg.norm(metric, axis=-1, keepdims=True)
    for row in range(2):
        kept = plan.kept[row].tolist()
        assert kept[:protected] == list(range(protected))
        if not merged:
            assert plan.merged is None
            assert kept == list(range(num_tokens))
            continue
        leaving = plan.merged[row].tolist()
        assert sorted(kept + leaving) == list(range(num_tokens))
        free = range(protected, num_tokens)
        similarity = unit[row] @ unit[row].T
        receiving = [v for v in free if v % 2]
        best = {u: similarity[u, receiving].max() for u in free if u % 2 == 0}
        ranked = sorted(best, key=best.__getitem__, reverse=True)
        assert leaving == ranked[:merged]
        staying = sorted(ranked[merged:]) if protected else ranked[merged:]
        assert kept[protected:] == staying + receiving
        for u, output in zip(leaving, plan.receivers[row].tolist(), strict=True):
            assert similarity[u, kept[output]] == best[u]


def test_a_token_of_zeros_disturbs_no_other():
    metric = jax.random.normal(jax.random.key(1), (1, 10, 3)).at[0, 5].set(0)
    near = metric.at[0, 4].set(metric[0, 3])  # surely the best pair
    plan = match_halves(near, 1, 1)
    assert (plan.merged.tolist(), plan.receivers.tolist()) == ([[4]], [[5]])
    assert plan.kept.tolist() == [[0, 2, 6, 8, 1, 3, 5, 7, 9]]


def test_the_tail_of_every_third_is_dropped():
    metric = jax.random.normal(jax.random.key(2), (2, 11, 4))
    plan = bipartite_matching.match_every(metric, 3)
    found = token_merging.find_outputs(plan, 11)
    assert found[:, [2, 5, 8]].tolist() == [[0, 1, 2]] * 2
    assert (np.asarray(found[:, 9:]) == -1).all()
    assert (np.asarray(found[:, :9]) >= 0).all()


def test_splits_that_leave_nothing():
    metric = jnp.ones((1, 4, 2))
    with pytest.raises(ValueError, match="into every 1th of 4"):
        bipartite_matching.match_every(metric, 1)
    with pytest.raises(ValueError, match="into every 5th of 4"):
        bipartite_matching.match_every(metric, 5)
    with pytest.raises(ValueError, match="cannot merge 4 of 4"):
        bipartite_matching.match_drawn(metric, 4, jnp.zeros((1, 4)))
