"""Softmax attention over keys.

    logits = scale q k^T + bias_k           bias: one number for every key
    weights = softmax(logits)               or a softmax under a mask
    attend = weights v

`attend` is the one function through which every plain softmax attention here goes: what
nobody looks into. In half precision on NVIDIA devices cuDNN computes it
(`fused_attention`). Who wants the weights asks `attention_weights`; of a few leading
queries alone it is as many rows.

Logits and softmax are float32, products in the dtype of the values.

Axes: batch b, heads h, queries q, keys k, head_dim d.
"""

from collections.abc import Callable

import jax

from tokenjax.ops import fused_attention
from tokenjax.ops.wide_product import wide_product

MaskedSoftmax = Callable[[jax.Array, jax.Array], jax.Array]  # of logits, keep (b, k)


def attention_logits(
    query: jax.Array, key: jax.Array, scale: float, bias: jax.Array | None = None
) -> jax.Array:
    """Compute the logits (b, h, q, k) float32 of (b, h, q, d) and (b, h, k, d).

    `bias` (b, k) is added for every head and query.
    """
    logits = scale * wide_product("bhqd,bhkd->bhqk", query, key)
    return logits if bias is None else logits + bias[:, None, None]


def attention_weights(
    query: jax.Array,
    key: jax.Array,
    scale: float,
    bias: jax.Array | None = None,
    keep: jax.Array | None = None,
    masked_softmax: MaskedSoftmax | None = None,
) -> jax.Array:
    """Compute the weights (b, h, q, k) float32; rows sum to 1.

    Args:
      query: (b, h, q, d), the first q of the k tokens.
      key: (b, h, k, d).
      scale: of the products.
      bias: (b, k), see `attention_logits`.
      keep: (b, k), which keys there are; None: all.
      masked_softmax: of (logits, keep); needed with `keep`.
    """
    logits = attention_logits(query, key, scale, bias)
    if keep is None:
        return jax.nn.softmax(logits, axis=-1)
    assert masked_softmax is not None
    return masked_softmax(logits, keep)


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    scale: float,
    bias: jax.Array | None = None,
) -> jax.Array:
    """Attend to all keys, (b, h, q, d) and twice (b, h, k, d) -> (b, h, q, d).

    `bias` as in `attention_logits`. The program is chosen by type, shape and device.
    """
    if fused_attention.suits(query, key, value):
        return fused_attention.attend(attend_plainly, query, key, value, scale, bias)
    return attend_plainly(query, key, value, scale, bias)


def attend_plainly(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    scale: float,
    bias: jax.Array | None = None,
) -> jax.Array:
    """Attend as `attend` does, by two products."""
    weights = attention_weights(query, key, scale, bias)
    return weights.astype(value.dtype) @ value
