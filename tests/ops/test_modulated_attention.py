"""VDPA's attention by tiles against its weights written out and multiplied."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.benchmark.flops import count_flops
from tokenjax.ops import soft_topk
from tokenjax.ops.modulated_attention import modulated_attention


def whole(query, key, value, temperature):
    logits = jnp.einsum("bhnd,bhmd->bhnm", query, key) * query.shape[-1] ** -0.5
    return soft_topk.modulated_softmax(logits, temperature) @ value


def draw(seed, queries, keys, scale=1.0, width=8):
    parts = jax.random.split(jax.random.key(seed), 4)
    shapes = [(2, 3, count, width) for count in (queries, keys, keys, queries)]
    query, key, value, gradient = map(jax.random.normal, parts, shapes)
    return scale * query, scale * key, value, gradient


def relative(found, expected):
    return float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))


@functools.partial(jax.jit, static_argnums=0)
def output_and_gradients(function, operands, gradient):
    outputs, pull = jax.vjp(function, *operands)
    return outputs, *pull(gradient)


# Made once, so that they are compiled once: the function is the key.
WHOLE = {t: functools.partial(whole, temperature=t) for t in (0.5, 2.0)}
TILED = {
    (t, tile): functools.partial(modulated_attention, temperature=t, tile=tile)
    for t, tile in ((0.5, 3), (2.0, 8), (0.5, 16))
}


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**31 - 1),
    queries=st.sampled_from([1, 7, 16]),
    case=st.sampled_from(list(TILED)),
    scale=st.sampled_from([0.3, 1.0, 2.0]),
)
def test_values_and_gradients(seed, queries, case, scale):
    *operands, gradient = draw(seed, queries, 11, scale)
    expected = output_and_gradients(WHOLE[case[0]], operands, gradient)
    found = output_and_gradients(TILED[case], operands, gradient)
    for name, one, other in zip("oqkv", found, expected, strict=True):
        assert relative(one, other) < 1e-4, name


@pytest.mark.parametrize("shift", [-300.0, -3.0, 0.0, 40.0])
def test_rows_whose_logits_are_far_from_zero(shift):
    """The row's largest L M is at its largest or its smallest L, whatever the sign."""
    width = 8
    query, key, value, _ = draw(5, 6, 9, 2.0, width)
    query = query.at[..., 0].set(width**0.5)
    key = key.at[..., 0].set(shift)  # adds `shift` to every logit
    found = modulated_attention(query, key, value, 0.5)
    expected = whole(query, key, value, 0.5)
    assert jnp.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_no_more_products_than_written_out():
    operands = draw(0, 16, 16)[:3]
    expected = count_flops(lambda *x: whole(*x, 0.5), *operands)
    assert (
        count_flops(lambda *x: modulated_attention(*x, 0.5, 4), *operands) == expected
    )


def test_the_matrix_of_weights_is_never_whole():
    operands = draw(0, 256, 256)[:3]

    def temporaries(function):
        gradient = jax.grad(lambda *x: function(*x).sum(), argnums=(0, 1, 2))
        compiled = jax.jit(gradient).lower(*operands).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    tiled = temporaries(lambda *x: modulated_attention(*x, 0.5, 32))
    assert tiled < temporaries(lambda *x: whole(*x, 0.5)) / 2


def test_bfloat16():
    operands = [x.astype(jnp.bfloat16) for x in draw(2, 16, 16)[:3]]
    found = modulated_attention(*operands, 0.5, 8)
    assert found.dtype == jnp.bfloat16
    expected = whole(*(x.astype(jnp.float32) for x in operands), 0.5)
    assert relative(found.astype(jnp.float32), expected) < 1e-2


def test_a_temperature_that_is_none():
    with pytest.raises(ValueError, match="above 0"):
        modulated_attention(*draw(0, 2, 2)[:3], 0.0)
