"""cuDNN's fused softmax attention, where an NVIDIA device can take it.

It computes `attention.attend` block by block of keys, softmax in float32, and never
holds the matrix of weights, neither for the result nor for its gradients:

    device      NVIDIA of compute capability 8.0 (Ampere) or newer
    types       bfloat16 or float16, one for all
    head_dim    a multiple of 8, at most 128
    lengths     any; for gradients cuDNN wants even ones, so a token is added that
                nobody attends to
    bias        of keys; with gradients a bias goes by plain products, since cuDNN's
                gradient of a bias that heads or queries share is in doubt (jax #30593)

ViT-B's encoder at 224 pixels, batch 64, bfloat16, one H200: a block in 0.52 ms against
0.64 by plain products, a training step in 1.5 against 2.2 (docs/benchmarks.md).

`TOKENJAX_ATTENTION=xla` leaves it out, `cudnn` takes it wherever type and shape allow.

Axes: batch b, heads h, queries q, keys k, head_dim d.
"""

import functools
import os
from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

Attend: TypeAlias = Callable[
    [jax.Array, jax.Array, jax.Array, float, jax.Array | None], jax.Array
]
Pullback: TypeAlias = Callable[[jax.Array], tuple[jax.Array | None, ...]]

VARIABLE = "TOKENJAX_ATTENTION"
CHOICES = ("auto", "xla", "cudnn")
_HALF = (jnp.bfloat16, jnp.float16)
_LARGEST_HEAD = 128
OLDEST_CAPABILITY = 8
IMPLEMENTATION: Literal["cudnn", "xla"] = "cudnn"  # tests without a device take xla's


def suits(query: jax.Array, key: jax.Array, value: jax.Array) -> bool:
    """Return whether cuDNN is to attend, to arrays as `attend` takes them.

    Raises: ValueError for an environment that names no implementation.
    """
    chosen = os.environ.get(VARIABLE) or "auto"
    if chosen not in CHOICES:
        raise ValueError(f"{VARIABLE}={chosen}: it is one of {', '.join(CHOICES)}")
    head_dim = query.shape[-1]
    fits = (
        query.dtype in _HALF
        and query.dtype == key.dtype == value.dtype
        and key.shape == value.shape
        and head_dim % 8 == 0
        and head_dim <= _LARGEST_HEAD
    )
    if not fits or chosen == "xla":
        return False
    return chosen == "cudnn" or _has_device()


def attend(
    plain: Attend,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    scale: float,
    bias: jax.Array | None,
) -> jax.Array:
    """Attend as `plain` does: (b, h, q, d) and twice (b, h, k, d) -> (b, h, q, d)."""
    return _attend(plain, scale, query, key, value, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(
    plain: Attend,
    scale: float,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
) -> jax.Array:
    return _call(scale, query, key, value, bias)


def _forward(
    plain: Attend,
    scale: float,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
) -> tuple[jax.Array, Pullback]:
    if bias is None:
        return jax.vjp(functools.partial(_call_even, scale), query, key, value)

    def biased(
        query: jax.Array, key: jax.Array, value: jax.Array, bias: jax.Array
    ) -> jax.Array:
        return plain(query, key, value, scale, bias)

    return jax.vjp(biased, query, key, value, bias)


def _backward(
    plain: Attend, scale: float, pullback: Pullback, gradient: jax.Array
) -> tuple[jax.Array | None, ...]:
    gradients = pullback(gradient)
    return gradients if len(gradients) == 4 else (*gradients, None)


_attend.defvjp(_forward, _backward)


def _call_even(
    scale: float, query: jax.Array, key: jax.Array, value: jax.Array
) -> jax.Array:
    """Attend with a token more where their number is odd."""
    queries, keys = query.shape[2], key.shape[2]
    lengths = None
    if queries % 2 or keys % 2:
        lengths = (queries, keys)
    query, key, value = map(_pad_to_even, (query, key, value))
    return _call(scale, query, key, value, None, lengths)[:, :, :queries]


def _pad_to_even(tokens: jax.Array) -> jax.Array:
    return jnp.pad(tokens, ((0, 0), (0, 0), (0, tokens.shape[2] % 2), (0, 0)))


def _call(
    scale: float,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    lengths: tuple[int, int] | None = None,
) -> jax.Array:
    """Call the kernel; `lengths` (queries, keys) are what of every example counts."""
    batch, _, queries, _ = query.shape
    if bias is not None:  # (b, k) -> (b, 1, q, k), the same for every head
        shape = (batch, 1, queries, key.shape[2])
        bias = jnp.broadcast_to(bias[:, None, None], shape).astype(query.dtype)
    counts: list[jax.Array | None] = [None, None]
    if lengths is not None:
        counts = [jnp.full((batch,), length, jnp.int32) for length in lengths]
    query, key, value = (each.swapaxes(1, 2) for each in (query, key, value))
    mixed = jax.nn.dot_product_attention(
        query,
        key,
        value,
        bias,
        scale=scale,
        query_seq_lengths=counts[0],
        key_value_seq_lengths=counts[1],
        implementation=IMPLEMENTATION,
    )  # (b, q, h, d)
    return mixed.swapaxes(1, 2)


@functools.cache
def _has_device() -> bool:
    """Return whether programs run on an NVIDIA device that cuDNN attends on."""
    device = jax.devices()[0]
    if "cuda" not in device.client.platform_version.lower():
        return False
    capability = getattr(device, "compute_capability", "0.0")
    return int(str(capability).split(".")[0]) >= OLDEST_CAPABILITY
