"""Attention without a matrix of tokens by tokens: ReLU features, linear cost.

    out_i = relu(q_i) . (sum_j relu(k_j) v_j^T) / (relu(q_i) . sum_j relu(k_j) + 1e-8)

(tokens * head_dim^2) instead of (tokens^2 * head_dim) multiply-adds per head. No scale,
no softmax; a query that is all zero after the ReLU gives zeros.

Source: starkplus/CIFAR-ViT, LightweightViT; kernel attention of Katharopoulos et al.
2020 (arXiv 2006.16236) with ReLU for its feature map.
"""

import jax
import jax.numpy as jnp

from tokenjax.ops.wide_product import wide_product

_EPSILON = 1e-8


def linear_attention(
    query: jax.Array, key: jax.Array, value: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Attend from query, key and value, each (batch, heads, tokens, head_dim).

    Returns the mixed values, of the same shape and in `value`'s type, and the numbers
    that they were divided by, (batch, heads, tokens) float32. Sums over tokens are
    float32 whatever the inputs are.
    """
    query, key = jax.nn.relu(query), jax.nn.relu(key)
    total = key.sum(axis=2, dtype=jnp.float32)  # (b, h, d)
    normaliser = wide_product("bhnd,bhd->bhn", query, total) + _EPSILON
    memory = wide_product("bhnd,bhne->bhde", key, value).astype(query.dtype)
    mixed = wide_product("bhnd,bhde->bhne", query, memory)
    return (mixed / normaliser[..., None]).astype(value.dtype), normaliser


def implied_weights(
    query: jax.Array, key: jax.Array, normaliser: jax.Array
) -> jax.Array:
    """Compute the attention matrix that `linear_attention` never forms, to look at.

    Returns: (batch, heads, tokens, tokens) float32; a row sums to 1, or to 0 where the
    query is all zero after the ReLU.
    """
    query, key = jax.nn.relu(query), jax.nn.relu(key)
    scores = jnp.einsum(
        "bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32
    )
    return scores / normaliser[..., None]
