"""Exact dispatch against the dense masked computation it stands for."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import dispatch
from tokenjax.ops.dispatch import (
    accelerator_capacities,
    apply_to_selected,
    default_capacities,
)

# Few of them: each costs a compilation.
CASES = [
    ((3, 4, 5), (1, 7)),
    ((1, 5, 2), None),
    ((6, 3), (3, 3, 0)),
    ((2, 2, 3, 1), ()),
]


def network(weights, rows):
    """Two layers with biases, so that a row of zeros does not give zeros."""
    hidden = jax.nn.relu(rows @ weights["first"] + weights["first_bias"])
    return hidden @ weights["second"] + weights["second_bias"]


def dense(weights, rows, selected):
    return jnp.where((selected != 0)[..., None], network(weights, rows), 0)


def draw(seed, shape):
    generator = np.random.default_rng(seed)
    sizes = {
        "first": (shape[-1], 6),
        "first_bias": (6,),
        "second": (6, 3),
        "second_bias": (3,),
    }
    weights = {key: generator.normal(size=size) for key, size in sizes.items()}
    drawn = weights, generator.normal(size=shape), generator.normal(size=(*shape, 3))
    weights, rows, cotangents = jax.tree.map(np.float32, drawn)
    return weights, rows, cotangents[..., 0, :]


@functools.partial(jax.jit, static_argnums=(0, 5))
def value_and_gradients(form, weights, rows, selected, cotangent, capacities=None):
    def outputs(weights, rows):
        if form is dense:
            return dense(weights, rows, selected)
        return apply_to_selected(network, weights, rows, selected, capacities)

    value, pull = jax.vjp(outputs, weights, rows)
    return value, pull(cotangent)


@settings(max_examples=30, deadline=None)
@given(
    case=st.sampled_from(CASES),
    seed=st.integers(0, 99),
    which=st.sampled_from(["all", "none", "some", "some", "some"]),
    data=st.data(),
)
def test_equals_the_dense_masked_computation(case, seed, which, data):
    shape, capacities = case
    weights, rows, cotangent = draw(seed, shape)
    selected = np.full(shape[:-1], which == "all")
    if which == "some":
        flags = st.lists(st.booleans(), min_size=selected.size, max_size=selected.size)
        selected = np.array(data.draw(flags)).reshape(shape[:-1])
    inputs = weights, rows, selected, cotangent
    value, (to_weights, to_rows) = value_and_gradients(
        apply_to_selected, *inputs, capacities
    )
    expected, gradients = value_and_gradients(dense, *inputs)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(
        jax.tree.leaves((to_weights, to_rows)), jax.tree.leaves(gradients), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not np.any(value[~selected])
    assert not np.any(to_rows[~selected])


def test_a_float_mask_is_a_bool_mask_and_receives_no_gradient():
    shape, capacities = CASES[0]
    weights, rows, cotangent = draw(0, shape)
    selected = np.arange(12).reshape(3, 4) % 3 == 0
    expected = value_and_gradients(
        apply_to_selected, weights, rows, selected, cotangent, capacities
    )
    found = value_and_gradients(
        apply_to_selected, weights, rows, np.float32(selected), cotangent, capacities
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)

    @jax.jit
    @jax.grad
    def to_mask(mask):
        outputs = apply_to_selected(network, weights, rows, mask, capacities)
        return jnp.sum(outputs * cotangent)

    assert not np.any(to_mask(jnp.float32(selected)))


@pytest.mark.parametrize("capacities", [(2, 5), None])
def test_the_smallest_capacity_and_every_row_once(capacities):
    total = 20
    sizes = default_capacities(total) if capacities is None else (0, 2, 5, total)

    def places(_, rows):
        """Where a row was packed, and among how many."""
        count = jnp.full(len(rows), len(rows))
        return jnp.stack([jnp.arange(len(rows)), count], axis=-1)

    rows = jnp.ones((total, 1))
    apply = jax.jit(
        lambda mask: apply_to_selected(places, None, rows, mask, capacities)
    )
    generator = np.random.default_rng(0)
    for count in range(total + 1):
        selected = generator.permutation(total) < count
        position, among = np.asarray(apply(selected)).T
        assert position[selected].tolist() == list(range(count))
        smallest = min(size for size in sizes if size >= count)
        assert set(among[selected]) == ({smallest} if count else set())
        assert not among[~selected].any()


def test_a_branch_multiplies_its_rows_and_nothing_else():
    def layer(weights, rows):
        return rows @ weights

    jaxpr = jax.make_jaxpr(
        lambda rows, mask: apply_to_selected(
            layer, jnp.ones((4, 3)), rows, mask, (2, 5)
        )
    )(jnp.ones((8, 4)), jnp.ones(8, bool))
    (switch,) = [e for e in jaxpr.eqns if e.primitive.name == "cond"]
    products = [
        [e.outvars[0].aval.shape for e in b.eqns if e.primitive.name == "dot_general"]
        for b in switch.params["branches"]
    ]
    assert products == [[], [(2, 3)], [(5, 3)], [(8, 3)]]
    outside = [e.primitive.name for e in jaxpr.eqns]
    assert "dot_general" not in outside
    assert "scatter" not in str(jaxpr.eqns[-1])


@settings(max_examples=30, deadline=None)
@given(num_rows=st.integers(1, 5000))
def test_default_capacities(num_rows):
    sizes = default_capacities(num_rows)
    assert sizes == tuple(sorted(set(sizes)))
    assert (sizes[0], sizes[-1]) == (0, num_rows)
    assert len(sizes) <= 25
    for low, high in itertools.pairwise(sizes):
        # One row more than a capacity costs the next one: padding of step - 1 at most.
        share = 1 / 32 if high <= num_rows / 2 else 1 / 16
        assert 0 < high - low < share * num_rows + 4
        assert low % 4 == 0  # whole tiles


@settings(max_examples=30, deadline=None)
@given(num_rows=st.integers(0, 500_000), row_cost=st.integers(1, 10**7))
def test_accelerator_capacities(num_rows, row_cost):
    sizes = accelerator_capacities(num_rows, row_cost)
    assert sizes == tuple(sorted(set(sizes)))
    assert sizes[-1] == num_rows
    assert len(sizes) <= 6  # 0 has no product
    if num_rows * row_cost < 2 * 10**10:
        assert sizes == (num_rows,)
        return
    assert all(size % 128 == 0 for size in sizes[:-1])
    for share in (0.125, 0.25, 0.5, 0.75):  # and a little more of each than asked for
        count = (share + 0.05) * num_rows
        capacity = min(size for size in sizes if size >= count)
        assert capacity <= (share + 0.0625) * num_rows + 128


@pytest.fixture(params=[0, 2 * 10**10], ids=["capacities", "all_rows"])
def accelerated(request, monkeypatch):
    """Run on the CPU what an accelerator would, with tiles of two rows.

    The parameter is the least work that is worth a choice.
    """

    def choose(*operands, cpu, default):
        return default(*operands)

    monkeypatch.setattr(dispatch, "ACCELERATOR_TILE", 2)
    monkeypatch.setattr(dispatch, "ACCELERATOR_LEAST", request.param)
    monkeypatch.setattr(jax.lax, "platform_dependent", choose)


def test_accelerators_equal_the_dense_masked_computation(accelerated):
    weights, rows, cotangent = draw(0, (4, 5, 3))
    found = jax.jit(
        functools.partial(value_and_gradients.__wrapped__, apply_to_selected)
    )
    for count in (0, 1, 4, 7, 11, 20):
        selected = np.random.default_rng(count).permutation(20).reshape(4, 5) < count
        rows[~selected] = np.inf  # what is not selected is not looked at
        finite = np.where(selected[..., None], rows, 0)
        expected = value_and_gradients(dense, weights, finite, selected, cotangent)
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_allclose(
                ours, theirs, rtol=1e-4, atol=1e-4
            ),
            found(weights, rows, selected, cotangent),
            expected,
        )


def test_the_platform_decides_on_the_capacities():
    def layer(weights, rows):
        return rows @ weights

    def apply(weights, rows, mask):
        return apply_to_selected(layer, weights, rows, mask)

    def count_products(platform, num_rows, width):
        shapes = (width, width), (num_rows, width)
        arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        mask = jax.ShapeDtypeStruct((num_rows,), jnp.bool_)
        exported = jax.export.export(jax.jit(apply), platforms=[platform])
        return exported(*arguments, mask).mlir_module().count("stablehlo.dot_general")

    assert count_products("cpu", 8192, 2048) == 24
    assert [count_products(name, 8192, 2048) for name in ("cuda", "tpu")] == [5, 5]
    assert count_products("cuda", 8192, 1024) == 1


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_no_rows_at_all(shape):
    weights, rows, cotangent = draw(0, shape)
    value, gradients = value_and_gradients(
        apply_to_selected, weights, rows, np.ones(shape[:-1], bool), cotangent
    )
    assert value.shape == (*shape[:-1], 3)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_bad_input():
    rows, mask = jnp.ones((2, 3, 4)), jnp.ones((2, 3))

    def same(_, rows):
        return rows

    with pytest.raises(ValueError, match=r"selected must be \(2, 3\).*got \(6,\)"):
        apply_to_selected(same, None, rows, mask.ravel())
    with pytest.raises(ValueError, match="selected must be"):
        apply_to_selected(same, None, jnp.ones(4), jnp.ones(()))
    for capacities in ((7,), (-1, 3)):
        with pytest.raises(ValueError, match=r"capacities must be within 0\.\.6"):
            apply_to_selected(same, None, rows, mask, capacities)
    for wrong in (lambda _, rows: rows.sum(1), lambda _, rows: rows[:2]):
        with pytest.raises(ValueError, match=r"function must return \(6, out\)"):
            apply_to_selected(wrong, None, rows, mask)
