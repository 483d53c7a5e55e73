"""cuDNN's attention: what surrounds its call, held to plain products; and its lowering.

Without an NVIDIA device XLA's implementation of the same function stands in for the
kernel; `tokenjax check-device` holds the kernel itself to plain products.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from tokenjax.benchmark import flops
from tokenjax.ops import attention, fused_attention

SCALE = 0.3


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setenv(fused_attention.VARIABLE, "cudnn")
    monkeypatch.setattr(fused_attention, "IMPLEMENTATION", "xla")


def draw(queries, keys, dtype=jnp.bfloat16, head_dim=8):
    generator = np.random.default_rng(0)
    shapes = [(2, 3, n, head_dim) for n in (queries, keys, keys)]
    return [jnp.asarray(generator.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (4, 7)])
def test_outputs_and_gradients_are_those_of_plain_products(queries, keys):
    arrays = draw(queries, keys)
    output = np.random.default_rng(1).normal(size=arrays[0].shape)

    def run(function):
        def loss(*arrays):
            mixed = function(*arrays, SCALE).astype(jnp.float32)
            return jnp.sum(mixed * output), mixed

        gradient = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
        return jax.jit(gradient)(*arrays)

    (_, mixed), gradients = run(attention.attend)
    (_, expected), plain = run(attention.attend_plainly)
    np.testing.assert_allclose(mixed, expected, atol=0.02)
    for ours, theirs in zip(gradients, plain, strict=True):
        assert ours.shape == theirs.shape
        ours, theirs = np.float32(ours), np.float32(theirs)
        np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())


def test_a_bias_counts_and_has_its_gradient():
    arrays = draw(5, 5)
    bias = jnp.log(jnp.asarray([[1.0, 4, 1, 2, 1], [3, 1, 1, 1, 9]]))
    ours = attention.attend(*arrays, SCALE, bias).astype(jnp.float32)
    plain = attention.attend_plainly(*arrays, SCALE, bias).astype(jnp.float32)
    np.testing.assert_allclose(ours, plain, atol=0.02)
    without = attention.attend(*arrays, SCALE).astype(jnp.float32)
    assert np.abs(ours - without).max() > 0.1

    def slope(function):
        def loss(bias):
            return function(*arrays, SCALE, bias).astype(jnp.float32)[..., 0].sum()

        return jax.jit(jax.grad(loss))(bias)

    expected = slope(attention.attend_plainly)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_array_equal(slope(attention.attend), expected)


def test_what_cudnn_cannot_take_goes_by_plain_products(monkeypatch):
    query, key, value = draw(4, 4)
    assert fused_attention.suits(query, key, value)
    for dtype, head_dim in ((jnp.float32, 8), (jnp.bfloat16, 12), (jnp.bfloat16, 136)):
        assert not fused_attention.suits(*draw(4, 4, dtype, head_dim))
    assert not fused_attention.suits(query, key.astype(jnp.float16), value)
    assert not fused_attention.suits(query, key, value[:, :, :3])
    for chosen in ("auto", "", "xla"):  # no NVIDIA device here
        monkeypatch.setenv(fused_attention.VARIABLE, chosen)
        assert not fused_attention.suits(query, key, value)
    monkeypatch.setenv(fused_attention.VARIABLE, "flash")
    with pytest.raises(ValueError, match="=flash: it is one of auto, xla, cudnn"):
        fused_attention.suits(query, key, value)


@pytest.mark.parametrize("length", [5, 6])
def test_it_lowers_to_one_call_of_cudnn_each_way(monkeypatch, length):
    monkeypatch.setattr(fused_attention, "IMPLEMENTATION", "cudnn")
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91300)
    arrays = draw(length, length)

    def lower(function):
        calls = ("__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward")
        allowed = [export.DisabledSafetyCheck.custom_call(call) for call in calls]
        exported = export.export(
            jax.jit(function), platforms=["cuda"], disabled_checks=allowed
        )(*arrays)
        return exported.mlir_module()

    def loss(*arrays):
        return attention.attend(*arrays, SCALE).astype(jnp.float32).sum()

    forward = lower(lambda *arrays: attention.attend(*arrays, SCALE))
    assert forward.count("custom_call @__cudnn$fmhaSoftmax(") == 1
    assert "dot_general" not in forward
    assert f"2x{length}x3x8" in forward  # no token is added where none is needed
    backward = lower(jax.grad(loss, argnums=(0, 1, 2)))
    assert backward.count("custom_call @__cudnn$fmhaSoftmaxBackward(") == 1
    assert "dot_general" not in backward
    assert "2x6x3x8" in backward


def test_its_flops_are_those_of_the_products_that_it_stands_for(monkeypatch):
    monkeypatch.setattr(fused_attention, "IMPLEMENTATION", "cudnn")
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91300)

    def count(function):
        def loss(*arrays):
            return jnp.sin(function(*arrays, SCALE)).astype(jnp.float32).sum()

        gradient = jax.grad(loss, argnums=(0, 1, 2))
        arrays = draw(6, 8)
        return flops.count_flops(loss, *arrays), flops.count_flops(gradient, *arrays)

    assert count(attention.attend) == count(attention.attend_plainly)
