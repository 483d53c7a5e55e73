"""Plans of merging: maps compose, sizes add up, what is moved is not changed."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import token_merging
from tokenjax.ops.token_merging import MergePlan

BATCH, TOKENS, DIM = 2, 9, 3
some = settings(max_examples=25, deadline=None)
merge = jax.jit(token_merging.merge_tokens)
add_up = jax.jit(token_merging.add_up)
take_largest = jax.jit(token_merging.take_largest)
find_outputs = jax.jit(token_merging.find_outputs, static_argnums=1)


def draw_plan(seed, num_tokens=TOKENS, kept=5, merged=3):
    """Draw a plan that also drops tokens, if kept and merged are not all."""
    generator = np.random.default_rng(seed)
    order = np.argsort(generator.random((BATCH, num_tokens)))
    receivers = generator.integers(0, kept, (BATCH, merged))
    return MergePlan(
        jnp.int32(order[:, :kept]),
        jnp.int32(order[:, kept : kept + merged]),
        jnp.int32(receivers),
    )


def draw_tokens(seed, num_tokens=TOKENS):
    generator = np.random.default_rng(seed)
    tokens = generator.normal(size=(BATCH, num_tokens, DIM)).astype(np.float32)
    sizes = generator.integers(1, 9, (BATCH, num_tokens)).astype(np.float32)
    return tokens, sizes


def groups_of(plan, row):
    """Return the inputs of every output, from the plan's own arrays."""
    groups = [[index] for index in plan.kept[row].tolist()]
    for index, receiver in zip(
        plan.merged[row].tolist(), plan.receivers[row].tolist(), strict=True
    ):
        groups[receiver].append(index)
    return groups


@some
@given(seed=st.integers(0, 1000))
def test_an_output_is_mean_sum_and_maximum_of_its_group(seed):
    plan, (tokens, sizes) = draw_plan(seed), draw_tokens(seed)
    means, totals = merge(plan, tokens, sizes)
    plain, counts = merge(plan, tokens, None)
    largest, sums = take_largest(plan, tokens), add_up(plan, tokens)
    for row in range(BATCH):
        for output, group in enumerate(groups_of(plan, row)):
            inside, weights = tokens[row, group], sizes[row, group]
            assert totals[row, output] == weights.sum()
            assert counts[row, output] == len(group)
            mean = np.average(inside, axis=0, weights=weights)
            np.testing.assert_allclose(means[row, output], mean, atol=1e-6)
            np.testing.assert_allclose(plain[row, output], inside.mean(0), atol=1e-6)
            np.testing.assert_allclose(sums[row, output], inside.sum(0), atol=1e-5)
            np.testing.assert_array_equal(largest[row, output], inside.max(0))


@some
@given(seed=st.integers(0, 1000))
def test_the_map_names_the_group_or_that_a_token_is_dropped(seed):
    plan = draw_plan(seed)
    expected = np.full((BATCH, TOKENS), -1)
    for row in range(BATCH):
        for output, group in enumerate(groups_of(plan, row)):
            expected[row, group] = output
    assert (expected == -1).sum() == BATCH  # one of nine is dropped
    found = find_outputs(plan, TOKENS)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, expected)


@some
@given(seed=st.integers(0, 1000))
def test_two_steps_are_one_by_their_composed_map(seed):
    first, then = draw_plan(seed), draw_plan(seed + 1, 5, 2, 2)
    tokens, sizes = draw_tokens(seed)
    once = merge(first, tokens, sizes)
    means, totals = merge(then, *once)
    source_map = np.asarray(
        token_merging.compose_maps(find_outputs(first, TOKENS), find_outputs(then, 5))
    )
    restored = token_merging.restore_tokens(means, jnp.asarray(source_map))
    for row in range(BATCH):
        for output in range(2):
            group = source_map[row] == output
            assert totals[row, output] == sizes[row, group].sum()
            mean = np.average(tokens[row, group], axis=0, weights=sizes[row, group])
            np.testing.assert_allclose(means[row, output], mean, atol=1e-5)
            for token in restored[row][group]:
                np.testing.assert_array_equal(token, means[row, output])
        assert not np.asarray(restored)[row][source_map[row] < 0].any()


@some
@given(seed=st.integers(0, 1000))
def test_sizes_are_kept_where_nothing_is_dropped(seed):
    plan, (tokens, sizes) = draw_plan(seed, kept=6), draw_tokens(seed)
    _, totals = merge(plan, tokens, sizes)
    np.testing.assert_array_equal(totals.sum(1), sizes.sum(1))


def test_a_plan_that_merges_nothing_is_a_gather():
    tokens, sizes = draw_tokens(0)
    plan = MergePlan(jnp.array([[3, 0, 8], [1, 1, 2]], jnp.int32))
    rows = np.arange(BATCH)[:, None]
    found, left = merge(plan, tokens, sizes)
    np.testing.assert_array_equal(found, tokens[rows, plan.kept])
    np.testing.assert_array_equal(left, sizes[rows, plan.kept])
    np.testing.assert_array_equal(take_largest(plan, tokens), found)
    np.testing.assert_array_equal(add_up(plan, tokens), found)
    every = token_merging.keep_all(BATCH, TOKENS)
    np.testing.assert_array_equal(merge(every, tokens, sizes)[0], tokens)
    np.testing.assert_array_equal(find_outputs(every, TOKENS), [range(TOKENS)] * BATCH)


def test_tokens_that_nothing_joins_keep_every_bit():
    tokens, _ = draw_tokens(4)
    sizes = np.full((BATCH, TOKENS), 3, np.float32)  # x * 3 / 3 is not x in bfloat16
    plan = draw_plan(4)
    for dtype in (jnp.float32, jnp.bfloat16):
        typed = jnp.asarray(tokens, dtype)
        found, left = merge(plan, typed, sizes)
        assert (found.dtype, left.dtype) == (dtype, jnp.float32)
        for row in range(BATCH):
            for output, group in enumerate(groups_of(plan, row)):
                if len(group) == 1:
                    np.testing.assert_array_equal(
                        found[row, output], typed[row, group[0]]
                    )


@jax.jit
def pull_back(plan, tokens, sizes, cotangent):
    _, backward = jax.vjp(
        lambda tokens: token_merging.merge_tokens(plan, tokens, sizes)[0], tokens
    )
    return backward(cotangent)[0]


@some
@given(seed=st.integers(0, 1000))
def test_the_gradient_goes_back_by_the_map(seed):
    plan, (tokens, sizes) = draw_plan(seed), draw_tokens(seed)
    cotangent = draw_tokens(seed + 1, 5)[0]
    found = pull_back(plan, tokens, sizes, cotangent)
    totals = merge(plan, tokens, sizes)[1][..., None]
    back = token_merging.restore_tokens(cotangent / totals, find_outputs(plan, TOKENS))
    np.testing.assert_allclose(found, sizes[..., None] * back, atol=1e-6)
