"""MaxViT's attention inside windows or grids, and the transformer block around it.

    x += join(attention(split(LayerNorm(x))));  x += mlp(LayerNorm(x))
    attention(x) = proj(softmax(q k^T / sqrt(head_dim) + bias) v)

`split` makes groups of p x q places, `bias` is a learned number for every head and
every offset of the key's place from the query's. Norms have epsilon 1e-5, the MLP's
GELU is the tanh approximation; LayerNorm and softmax are computed in float32.

Axes: batch b, map h, w, channels c, groups g, tokens of a group n = p q, heads H,
head_dim d.

Source: Tu et al. 2022, MaxViT (arXiv 2204.01697); its TensorFlow form as in timm
1.0.31, maxxvit.py, `PartitionAttentionCl`, and pos_embed_rel.py, `RelPosBiasTf`.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import DType
from tokenjax.models import layers
from tokenjax.models.baselines import windows
from tokenjax.models.baselines.mbconv import gelu
from tokenjax.ops.wide_product import wide_product

PARTITIONS = {
    "window": (windows.window_partition, windows.window_reverse),
    "grid": (windows.grid_partition, windows.grid_reverse),
}
Linear = functools.partial(
    layers.Linear,
    kernel_init=nn.initializers.xavier_uniform(),
    bias_init=nn.initializers.zeros,
)


class RelativeAttention(nn.Module):
    """Attention within groups, biased by offset: (b g, n, c) -> (b g, n, c)."""

    num_heads: int
    size: tuple[int, int]  # (p, q)
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        dim = tokens.shape[-1]
        linear = functools.partial(Linear, dtype=self.dtype)
        qkv = linear(3 * dim, name="qkv")(tokens)
        query, key, value = layers.split_heads(qkv, self.num_heads)  # (b g, H, n, d)
        logits = wide_product("bhqd,bhkd->bhqk", query, key)
        logits = logits * query.shape[-1] ** -0.5 + self._bias()
        weights = jax.nn.softmax(logits).astype(value.dtype)
        return linear(dim, name="proj")(layers.merge_heads(weights @ value))

    def _bias(self) -> jax.Array:
        """Return the bias of every pair of places: (H, n queries, n keys)."""
        shape = (self.num_heads, *(2 * side - 1 for side in self.size))
        init = nn.initializers.normal(0.02)
        table = self.param("relative_position_bias_table", init, shape)
        # That index is of the first place's offset from the second's; here the key's
        # offset from the query's counts.
        index = windows.relative_position_index(self.size).T
        return table.reshape(self.num_heads, -1)[:, index]


class PartitionAttention(nn.Module):
    """One transformer block over groups: (b, h, w, c) -> (b, h, w, c).

    In training a branch is left out for a sample with probability `drop_path`.
    """

    partition: str  # "window" or "grid"
    size: tuple[int, int]  # (p, q)
    num_heads: int
    drop_path: float = 0.0
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
        split, join = PARTITIONS[self.partition]
        norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
        linear = functools.partial(Linear, dtype=self.dtype)
        whole = layers.Dropout(self.drop_path, (1, 2, 3), deterministic=not train)
        attention = RelativeAttention(
            self.num_heads, self.size, self.dtype, name="attn"
        )
        groups = attention(split(norm(name="norm1")(maps), self.size))
        height, width = maps.shape[1:3]
        maps += whole(join(groups, self.size, (height, width)))
        mlp = layers.MLP(4 * maps.shape[-1], linear=linear, activation=gelu, name="mlp")
        return maps + whole(mlp(norm(name="norm2")(maps), train))
