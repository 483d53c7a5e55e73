"""Attention inside windows of a map, which may be shifted.

    y = unshift(join(attention(windows(pad(shift(x))))))
    attention(x) = proj(softmax(q k^T / sqrt(d) + bias + mask) v)

bias is a learnt number for every head and offset between two places. A shift rolls the
map, so that its last windows hold places from opposite edges, which the mask (-100)
keeps apart. Zeros are added behind the shifted map up to whole windows; a padded place
is attended to as any other is. Softmax is computed in float32.

Axes: batch b, map h, w, channels c, windows g, places of a window n (queries q, keys
k), heads m, head_dim d.

Source: Liu et al. 2021, Swin Transformer (arXiv 2103.14030), as in timm 1.0.31,
swin_transformer.py: it pads behind the shift, where the authors' code pads first.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import DType
from tokenjax.models import layers
from tokenjax.models.baselines import windows
from tokenjax.models.baselines.windows import Size
from tokenjax.models.encoder import normal_init
from tokenjax.ops.wide_product import wide_product

POSITION_TABLE = "relative_position_bias_table"  # the parameter's name
_APART = -100.0  # the original's mask: to float32's softmax as good as -inf
Linear = functools.partial(
    layers.Linear, kernel_init=normal_init, bias_init=nn.initializers.zeros
)


class WindowAttention(nn.Module):
    """Attention in windows of `size`, of a map shifted by `shift` places."""

    num_heads: int
    size: Size
    shift: Size
    qkv_bias: bool
    dropout: float
    attention_dropout: float
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
        """Attend: (b, h, w, c) -> (b, h, w, c)."""
        height, width, channels = maps.shape[1:]
        back = tuple(-places for places in self.shift)
        rows, columns = (
            -(-places // side) * side
            for places, side in zip((height, width), self.size, strict=True)
        )  # of whole windows
        padding = ((0, 0), (0, rows - height), (0, columns - width), (0, 0))
        shifted = jnp.pad(jnp.roll(maps, back, (1, 2)), padding)
        tokens = windows.window_partition(shifted, self.size)  # (b g, n, c)
        linear = functools.partial(Linear, dtype=self.dtype)
        qkv = linear(3 * channels, use_bias=self.qkv_bias, name="qkv")(tokens)
        tokens = self._attend(qkv, (rows, columns), train)
        tokens = linear(channels, name="proj")(tokens)
        tokens = layers.Dropout(self.dropout, deterministic=not train)(tokens)
        outputs = windows.window_reverse(tokens, self.size, (rows, columns))
        return jnp.roll(outputs[:, :height, :width], self.shift, (1, 2))

    def _attend(self, qkv: jax.Array, map_size: Size, train: bool) -> jax.Array:
        """Attend inside windows: (b g, n, 3 c) -> (b g, n, c)."""
        query, key, value = layers.split_heads(qkv, self.num_heads)  # (b g, m, n, d)
        logits = wide_product("gmqd,gmkd->gmqk", query, key)
        logits = logits * query.shape[-1] ** -0.5 + self._position_bias()
        if any(self.shift):
            region = window_regions(map_size, self.size, self.shift)  # (g, n)
            apart = jnp.where(region[:, :, None] != region[:, None], _APART, 0.0)
            by_image = logits.reshape(-1, len(region), *logits.shape[1:])
            logits = (by_image + apart[:, None]).reshape(logits.shape)
        weights = jax.nn.softmax(logits)
        drop = layers.Dropout(self.attention_dropout, deterministic=not train)
        return layers.merge_heads(drop(weights).astype(value.dtype) @ value)

    def _position_bias(self) -> jax.Array:
        """Return the bias of every head and pair of places: (m, q, k)."""
        height, width = self.size
        shape = ((2 * height - 1) * (2 * width - 1), self.num_heads)
        table = self.param(POSITION_TABLE, normal_init, shape)
        index = windows.relative_position_index(self.size)
        return table[index.reshape(-1)].reshape(*index.shape, -1).transpose(2, 0, 1)


def window_regions(map_size: Size, size: Size, shift: Size) -> np.ndarray:
    """Number the places of each window of a shifted map: (g, n).

    Those with the same number may see each other. Along each axis the last `shift`
    places came from the other edge, and share a window with those before them.
    """
    number = np.zeros(map_size, np.int32)
    for axis, (side, moved) in enumerate(zip(size, shift, strict=True)):
        places = np.arange(map_size[axis])
        last, wrapped = (places >= map_size[axis] - start for start in (side, moved))
        along = (last.astype(np.int32) + wrapped) * bool(moved)
        number = 3 * number + along.reshape((-1, 1) if axis == 0 else (1, -1))
    return windows.window_partition(number[None, :, :, None], size)[..., 0]
