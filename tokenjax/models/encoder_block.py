"""The pre-norm transformer block of pretrained vision backbones.

    x += attention(LayerNorm(x));  x += linear(activation(linear(LayerNorm(x))))
    attention(x) = out_proj(softmax(scale q k^T) v),  (q | k | v) = in_proj(x)

The parameters of the attention are those of `torch.nn.MultiheadAttention`. In training
dropout, and stochastic depth: a branch is left out for a sample with probability
`drop_path`, else divided by 1 - drop_path (Huang et al. 2016, arXiv 1603.09382). Rates
of 0 draw nothing. LayerNorm and softmax are computed in float32.

Axes: batch b, heads h, tokens n (queries q, keys k), dim c, head_dim d.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import DType
from tokenjax.models import layers
from tokenjax.models.layers import Activation, Initializer, ModuleMaker

normal_init = nn.initializers.normal(0.02)


class SelfAttention(nn.Module):
    """Multi-head softmax attention: (b, n, c) -> (b, n, c)."""

    num_heads: int
    in_proj: ModuleMaker
    out_proj: ModuleMaker
    scale: float | None = None  # of the logits; None: d ** -0.5
    dropout: float = 0.0  # of the attention weights

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> jax.Array:
        dim = tokens.shape[-1]
        qkv = self.in_proj(3 * dim, name="in_proj")(tokens)
        query, key, value = layers.split_heads(qkv, self.num_heads)  # (b, h, n, d)
        logits = jnp.einsum(
            "bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32
        )
        weights = jax.nn.softmax(logits * (self.scale or query.shape[-1] ** -0.5))
        weights = layers.Dropout(self.dropout, deterministic=not train)(weights)
        mixed = layers.merge_heads(weights.astype(value.dtype) @ value)
        return self.out_proj(dim, name="out_proj")(mixed)


class EncoderBlock(nn.Module):
    """One block: (b, n, c) -> (b, n, c). Linear: normal(0.02), biases 0."""

    num_heads: int
    hidden_dim: int
    activation: Activation = layers.gelu
    epsilon: float = 1e-5
    in_proj_bias: bool = True
    in_proj_init: Initializer = normal_init
    scale: float | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> jax.Array:
        """Compute; see the class."""
        norm = functools.partial(nn.LayerNorm, epsilon=self.epsilon, dtype=self.dtype)
        linear = functools.partial(
            layers.Linear,
            kernel_init=normal_init,
            bias_init=nn.initializers.zeros,
            dtype=self.dtype,
        )
        in_proj = functools.partial(
            linear, kernel_init=self.in_proj_init, use_bias=self.in_proj_bias
        )
        attention = SelfAttention(
            self.num_heads,
            in_proj,
            linear,
            self.scale,
            self.attention_dropout,
            name="attn",
        )
        mlp = layers.MLP(
            self.hidden_dim, self.dropout, linear, self.activation, name="mlp"
        )
        drop = layers.Dropout(self.dropout, deterministic=not train)
        whole = layers.Dropout(self.drop_path, (1, 2), deterministic=not train)
        tokens += whole(drop(attention(norm(name="norm1")(tokens), train)))
        return tokens + whole(mlp(norm(name="norm2")(tokens), train))


def encode(
    tokens: jax.Array, train: bool, settings: Sequence[Mapping[str, Any]], remat: bool
) -> tuple[jax.Array, ...]:
    """Run blocks "blocks_0", ... one after another; call it inside compact.

    Args:
      tokens: (b, n, c).
      train: whether dropout and stochastic depth draw.
      settings: the arguments of each block.
      remat: whether gradients compute a block's inside again instead of storing it.

    Returns: the output of each.
    """
    block = nn.remat(EncoderBlock, static_argnums=(2,)) if remat else EncoderBlock
    outputs = []
    for index, arguments in enumerate(settings):
        tokens = block(**arguments, name=f"blocks_{index}")(tokens, train)
        outputs.append(tokens)
    return tuple(outputs)
