"""Depthwise convolution against XLA's own, outputs and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.benchmark.flops import count_flops
from tokenjax.ops import depthwise
from tokenjax.ops.depthwise import depthwise_convolution


def drawn(shape, side):
    generator = np.random.default_rng(0)
    maps = generator.normal(size=shape).astype(np.float32)
    kernel = generator.normal(size=(side, side, 1, shape[-1])).astype(np.float32)
    return jnp.asarray(maps), jnp.asarray(kernel)


def value_and_gradients(function, maps, kernel, stride):
    """Outputs, and the gradients of a sum with weights of no symmetry."""

    @jax.jit
    def run(maps, kernel):
        outputs, pull_back = jax.vjp(lambda m, k: function(m, k, stride), maps, kernel)
        weights = jnp.sin(jnp.arange(outputs.size, dtype=jnp.float32) ** 2)
        return outputs, *pull_back(weights.reshape(outputs.shape).astype(maps.dtype))

    return run(maps, kernel)


@pytest.mark.parametrize(
    ("shape", "side", "stride"),
    [
        ((2, 9, 6, 5), 7, 1),
        ((2, 3, 2, 4), 7, 1),  # the kernel reaches over the whole map
        ((1, 8, 5, 3), 3, 2),
        ((2, 7, 8, 3), 3, 2),
        ((1, 7, 9, 2), 5, 3),
        ((1, 5, 6, 2), 2, 1),  # an even kernel: the odd zero comes after
        ((2, 7, 4, 3), 1, 2),  # skips places: their gradient is 0
    ],
)
def test_as_a_convolution(shape, side, stride):
    found = value_and_gradients(depthwise_convolution, *drawn(shape, side), stride)
    by_convolution = depthwise._by_convolution
    expected = value_and_gradients(by_convolution, *drawn(shape, side), stride)
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.dtype == wanted.dtype
        assert actual.shape == wanted.shape
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=2e-5)


def test_what_other_platforms_compile_agrees():
    maps, kernel = drawn((2, 5, 4, 3), 3)
    gradient = jnp.sin(jnp.arange(2 * 3 * 2 * 3.0)).reshape(2, 3, 2, 3)
    found = depthwise._gradients_by_shifts(maps, kernel, gradient, 2)
    expected = depthwise._gradients_by_convolution(maps, kernel, gradient, 2)
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)


def test_bfloat16_sums_in_float32():
    maps, kernel = drawn((1, 9, 9, 4), 7)
    exact = depthwise_convolution(maps, kernel)
    coarse = depthwise_convolution(maps.astype(jnp.bfloat16), kernel)
    assert coarse.dtype == jnp.bfloat16
    error = np.abs(coarse.astype(jnp.float32) - exact).max()
    assert error < 0.01 * np.abs(exact).max()


def test_the_flops_of_a_convolution_are_counted():
    maps, kernel = drawn((2, 8, 8, 3), 7)
    assert count_flops(depthwise_convolution, maps, kernel) == 2 * 2 * 8 * 8 * 3 * 49


def test_other_platforms_take_the_convolution():
    maps, kernel = drawn((1, 8, 8, 3), 3)

    def gradients(maps, kernel):
        _, pull_back = jax.vjp(depthwise_convolution, maps, kernel)
        return pull_back(maps)

    exported = jax.export.export(jax.jit(gradients), platforms=["cuda"])(maps, kernel)
    assert exported.mlir_module().count("stablehlo.convolution") == 2


def test_only_the_chosen_program_is_compiled():
    maps, kernel = drawn((1, 8, 8, 3), 7)
    text = jax.jit(depthwise_convolution).lower(maps, kernel).compile().as_text()
    assert "conditional" not in text
    assert "convolution(" not in text


def test_shapes_that_do_not_fit():
    maps, kernel = drawn((1, 8, 8, 3), 3)
    with pytest.raises(
        ValueError, match=r"kernel \(k, k, 1, c\); got .*\(3, 3, 1, 2\)"
    ):
        depthwise_convolution(maps, kernel[..., :2])
    with pytest.raises(ValueError, match=r"maps \(b, h, w, c\)"):
        depthwise_convolution(maps[0], kernel)
