"""What is counted in a lowered program, in programs that hold it by construction."""

import jax
import jax.numpy as jnp
import pytest
from helpers.small_models import SMALL

from tokenjax import models
from tokenjax.benchmark import flops, inputs, lowering, program_counts
from tokenjax.benchmark.program_counts import CONVOLUTION, DOT

SQUARE = jax.ShapeDtypeStruct((8, 8), jnp.float32)


def counted(function, *arguments, platform="cuda"):
    traced = jax.jit(function).trace(*arguments)
    return program_counts.count(lowering.lower(traced, platform))


def test_equal_products_are_one_however_they_are_called():
    twice = jax.jit(lambda x: jnp.sin(x @ x))

    def function(x, y):  # three of 8 x 8, of which two in a function; 8 x 8 by 8 x 4
        return twice(twice(x)) @ x @ y

    counts = counted(function, SQUARE, jax.ShapeDtypeStruct((8, 4), jnp.float32))
    assert counts.of(DOT) == 4
    assert counts.distinct(DOT) == 2
    by_right = {product.right: n for product, n in counts.products.items()}
    assert by_right == {"8x8xf32": 3, "8x4xf32": 1}
    assert {product.flops for product in counts.products} == {1024, 512}
    assert counts.runs == counts.products


def test_a_transposed_product_is_another():
    counts = counted(lambda x: x @ x + x.T @ x + jnp.einsum("ij,kj->ik", x, x), SQUARE)
    assert (counts.of(DOT), counts.distinct(DOT)) == (3, 2)


def test_loops_say_how_often_they_run():
    def function(x):
        def inner(_, x):
            return x @ x

        def outer(x, _):
            return jax.lax.fori_loop(0, 3, inner, x), None

        x, _ = jax.lax.scan(outer, x, None, length=7)
        return jax.lax.while_loop(lambda x: x.sum() < 1, lambda x: x @ x + 1, x)

    counts = counted(function, SQUARE)
    assert counts.loops == {7: 1, 3: 1, None: 1}
    assert counts.iterations == 7 + 21 + 1
    assert counts.of(DOT) == 2
    (product,) = counts.products
    assert counts.runs[product] == 21 + 1


def test_branches_are_of_those_that_are_left():
    def choose(index, x):
        sides = [lambda x: x @ x, lambda x: x, jnp.sin]
        x = jax.lax.switch(index, sides, x)
        return jax.lax.platform_dependent(
            x, cuda=lambda x: x @ x @ x, default=lambda x: x @ x.T
        )

    index = jax.ShapeDtypeStruct((), jnp.int32)
    for platform, products in (("cuda", 3), ("tpu", 2)):
        counts = counted(choose, index, SQUARE, platform=platform)
        assert counts.branches == {3: 1}
        assert counts.of(DOT) == products


def test_what_else_is_counted():
    def function(x):
        order = jnp.argsort(x[0])
        best, _ = jax.lax.top_k(x[1], 3)
        q, _ = jnp.linalg.qr(x)
        return x[order].at[jnp.int32(best)].add(1.0), q

    counts = counted(function, SQUARE)
    assert counts.of(*program_counts.SORTS) == 2
    assert counts.of(*program_counts.GATHERS) == 1
    assert counts.of(*program_counts.SCATTERS) == 1
    assert sum("geqrf" in target for target in counts.custom_calls) == 1
    assert not counts.has_float64
    with jax.enable_x64(True):
        double = jax.ShapeDtypeStruct((8, 8), jnp.float64)
        assert counted(lambda x: x + 1, double).has_float64


def test_products_in_float32_of_a_half_precision_program():
    half = jax.ShapeDtypeStruct((8, 8), jnp.bfloat16)

    def function(x):
        with jax.named_scope("wide"):
            wide = jnp.dot(x.astype(jnp.float32), x.astype(jnp.float32))
        summed = jnp.dot(x, x, preferred_element_type=jnp.float32)
        return wide + summed

    counts = counted(function, half)
    found = counts.wider_than("bf16")
    (product,) = found
    assert found[product] == 1
    assert str(product) == "8x8xf32 · 8x8xf32"
    assert counts.places[product] == {"wide"}
    assert counts.share_of_flops(found) == 0.5
    assert counts.wider_than("f32") == {}
    assert counted(lambda x: x + 1, half).share_of_flops({}) == 0


@pytest.mark.parametrize("name", ["resnet50", "swin_tiny", "vmamba_tiny"])
def test_flops_are_those_of_the_graph(name):
    """Convolutions, with groups too, and loops."""
    module = models.create(name, **SMALL[name])
    example = inputs.describe_inputs(module, 2)
    variables = jax.eval_shape(module.init, jax.random.key(0), *example)

    def function(*arguments):
        return module.apply(*arguments)[0]

    counts = counted(function, variables, *example)
    total = sum(product.flops * times for product, times in counts.runs.items())
    assert total == flops.count_flops(function, variables, *example)
    assert counts.of(CONVOLUTION) >= (name == "resnet50")
