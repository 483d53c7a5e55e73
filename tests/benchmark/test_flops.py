"""FLOPs against counts by hand."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental import pallas as pl

from tokenjax.benchmark import count_flops, flops_by_primitive


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def convolve(images, kernel, groups=1, strides=(1, 1), padding="SAME"):
    return lax.conv_general_dilated(
        images,
        kernel,
        strides,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def square(x):
    return x @ x


SQUARE = 2 * 8 * 8 * 8


def test_products():
    assert count_flops(jnp.matmul, array(3, 5), array(5, 7)) == 2 * 3 * 5 * 7
    assert count_flops(jnp.matmul, jnp.ones((3, 5)), jnp.ones((5, 7))) == 2 * 3 * 5 * 7
    batched = count_flops(jnp.matmul, array(4, 2, 3, 5), array(4, 2, 5, 7))
    assert batched == 4 * 2 * 2 * 3 * 5 * 7
    assert count_flops(jax.vmap(square), array(6, 8, 8)) == 6 * SQUARE
    assert count_flops(lambda x: jnp.exp(x) + x, array(8, 8)) == 0


def test_gradient_of_a_product_is_two_more():
    loss = jax.value_and_grad(lambda w, x: (x @ w).sum(), argnums=(0, 1))
    # Of the product itself only the sum is left, and that needs the product.
    assert count_flops(loss, array(5, 7), array(3, 5)) == 3 * 2 * 3 * 5 * 7


@pytest.mark.parametrize(
    ("kernel", "groups", "strides", "padding", "outputs", "taps"),
    [
        ((3, 3, 6, 10), 1, (1, 1), "SAME", 16 * 16 * 10, 3 * 3 * 6),
        ((3, 3, 6, 10), 1, (1, 1), "VALID", 14 * 14 * 10, 3 * 3 * 6),
        ((4, 4, 6, 10), 1, (4, 4), "VALID", 4 * 4 * 10, 4 * 4 * 6),
        ((3, 3, 3, 10), 2, (1, 1), "SAME", 16 * 16 * 10, 3 * 3 * 3),
        ((7, 7, 1, 6), 6, (1, 1), "SAME", 16 * 16 * 6, 7 * 7),
    ],
)
def test_convolutions(kernel, groups, strides, padding, outputs, taps):
    function = functools.partial(
        convolve, groups=groups, strides=strides, padding=padding
    )
    images = array(2, 16, 16, 6)
    assert count_flops(function, images, array(*kernel)) == 2 * 2 * outputs * taps


def test_transposed_convolution_skips_the_zeros_between_inputs():
    layer = nn.ConvTranspose(4, (2, 2), strides=(2, 2))
    images = array(1, 8, 8, 3)
    variables = jax.eval_shape(layer.init, jax.random.key(0), images)
    expected = 2 * (8 * 8 * 3) * (2 * 2 * 4)  # each input meets each weight once
    assert count_flops(layer.apply, variables, images) == expected


def test_convolution_gradient_by_batch_groups():
    """The weight gradient of a depthwise convolution costs what the forward costs."""
    loss = lambda kernel, images: convolve(images, kernel, groups=6).sum()  # noqa: E731
    arguments = (array(3, 3, 1, 6), array(2, 16, 16, 6))
    forward = count_flops(loss, *arguments)
    counts = count_flops(jax.grad(loss), *arguments)
    assert forward == 2 * (2 * 16 * 16 * 6) * 9
    assert counts == forward  # the forward product itself is not needed


def test_attention():
    q = array(2, 10, 4, 16)  # (batch, tokens, heads, head_dim)
    products = 2 * 2 * 4 * 10 * 10 * 16  # QK, and as much again for AV
    assert count_flops(jax.nn.dot_product_attention, q, q, q) == 2 * products


def test_ragged_dot_counts_each_row_once():
    sizes = jax.ShapeDtypeStruct((2,), jnp.int32)
    counts = flops_by_primitive(lax.ragged_dot, array(12, 8), array(2, 8, 4), sizes)
    assert counts.total == 2 * 12 * 8 * 4
    assert counts.by_primitive == {"ragged_dot_general": counts.total}
    gradient = jax.grad(lambda w, x, s: lax.ragged_dot(x, w, s).sum())
    assert count_flops(gradient, array(2, 8, 4), array(12, 8), sizes) == counts.total


def test_loops():
    def scanned(x):
        return lax.scan(lambda carry, _: (square(carry), None), x, length=5)[0]

    assert count_flops(scanned, array(8, 8)) == 5 * SQUARE
    fori = lambda x: lax.fori_loop(0, 3, lambda _, y: scanned(y), x)  # noqa: E731
    assert count_flops(fori, array(8, 8)) == 15 * SQUARE


def test_branches_count_the_dearest():
    def branches(index, x):
        return lax.switch(index, [lambda y: y, lambda y: square(square(y)), square], x)

    index = jax.ShapeDtypeStruct((), jnp.int32)
    assert count_flops(branches, index, array(8, 8)) == 2 * SQUARE


def test_while_needs_a_trip_count():
    def until(step, x):
        return lax.while_loop(lambda y: y[0, 0] < 1, step, x)

    with pytest.raises(ValueError, match="trip count is unknown"):
        count_flops(functools.partial(until, square), array(8, 8))
    assert count_flops(functools.partial(until, lambda y: y + 1), array(8, 8)) == 0


@jax.custom_vjp
def with_rules(x):
    return square(x)


with_rules.defvjp(
    lambda x: (square(x), x), lambda x, cotangent: (cotangent @ x.T + x.T @ cotangent,)
)


@jax.custom_jvp
def with_tangents(x):
    return square(x)


with_tangents.defjvp(lambda p, t: (square(p[0]), p[0] @ t[0] + t[0] @ p[0]))


def on_mesh(x):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    return jax.shard_map(square, mesh=mesh, in_specs=spec, out_specs=spec)(x)


@pytest.mark.parametrize(
    "function",
    [
        jax.jit(jax.jit(square)),
        jax.checkpoint(square),
        with_rules,
        with_tangents,
        on_mesh,
    ],
)
def test_nesting_counts_the_function_once(function):
    assert count_flops(function, array(8, 8)) == SQUARE


def test_recomputation_shows_in_the_gradient():
    loss = lambda f: jax.grad(lambda x: (f(jnp.sin(f(x)))).sum())  # noqa: E731
    plain = count_flops(loss(square), array(8, 8))
    recomputed = count_flops(loss(jax.checkpoint(square)), array(8, 8))
    assert recomputed >= plain > 0


def test_what_cannot_reach_the_outputs_is_left_out():
    def model(x):
        def layer(carry, _):
            return square(carry), square(square(carry))

        y, looks = lax.scan(layer, x, length=3)
        return y, looks

    assert count_flops(lambda x: model(x)[0], array(8, 8)) == 3 * SQUARE
    assert count_flops(model, array(8, 8)) > 3 * SQUARE


def test_pallas_counts_the_body_per_grid_step():
    def kernel(left, right, out):
        out[...] = left[...] @ right[...]

    product = pl.pallas_call(
        kernel,
        grid=(2, 3),
        in_specs=[
            pl.BlockSpec((4, 8), lambda i, j: (i, 0)),
            pl.BlockSpec((8, 4), lambda i, j: (0, j)),
        ],
        out_specs=pl.BlockSpec((4, 4), lambda i, j: (i, j)),
        out_shape=array(8, 12),
        interpret=True,
    )
    assert count_flops(product, array(8, 8), array(8, 12)) == 2 * 8 * 8 * 12


def test_loop_and_scan_over_layers_agree():
    layers = array(4, 8, 8)

    def loop(x, weights):
        for weight in weights:
            x = jnp.tanh(x @ weight)
        return x

    def scan(x, weights):
        return lax.scan(lambda y, w: (jnp.tanh(y @ w), None), x, weights)[0]

    counts = [count_flops(f, array(5, 8), layers) for f in (loop, scan)]
    assert counts == [4 * 2 * 5 * 8 * 8] * 2
