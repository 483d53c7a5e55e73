"""MBConv, the convolutional block of MaxViT: its parts, and the block.

    x = shortcut(x) + project(se(act(depthwise(act(expand(norm(x)))))))

expand and project are linear layers of every place alone, to four times the block's
features and back; a norm stands before every activation. With stride 2 the depthwise
convolution is the one that steps, and the shortcut is the mean of 2 x 2 places, then a
linear layer where the channels change. GELU is the tanh approximation, norms are batch
norms of epsilon 1e-3, convolutions and pooling pad as TensorFlow's "same".

Axes: batch b, map h, w (H, W of the outputs), channels c.

Source: Tu et al. 2022, MaxViT (arXiv 2204.01697); its TensorFlow form as in timm
1.0.31, maxxvit.py, `MbConvBlock` with `_tf_cfg`.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import DType
from tokenjax.models import layers
from tokenjax.ops.depthwise import depthwise_convolution

BatchNorm = functools.partial(layers.BatchNorm, epsilon=1e-3)
fan_out_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# The original's 1 x 1 convolutions.
Pointwise = functools.partial(
    layers.Linear, kernel_init=fan_out_init, bias_init=nn.initializers.zeros
)
_KERNEL = 3


def gelu(inputs: jax.Array) -> jax.Array:
    """Compute GELU's tanh approximation in float32."""
    values = inputs.astype(jnp.float32)
    return nn.gelu(values, approximate=True).astype(inputs.dtype)


class DepthwiseConv(nn.Module):
    """A 3 x 3 convolution of every channel by itself: (b, h, w, c) -> (b, H, W, c)."""

    stride: int = 1
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        shape = (_KERNEL, _KERNEL, 1, maps.shape[-1])
        init = nn.initializers.normal((2 / _KERNEL**2) ** 0.5)
        kernel = self.param("kernel", init, shape)
        return depthwise_convolution(maps.astype(self.dtype), kernel, self.stride)


class SqueezeExcite(nn.Module):
    """Channels times sigmoid(fc2(silu(fc1(their means)))): (b, h, w, c) -> the same."""

    hidden_dim: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        linear = functools.partial(Pointwise, dtype=self.dtype)
        means = maps.mean((1, 2), dtype=jnp.float32)  # (b, c)
        hidden = nn.silu(linear(self.hidden_dim, name="fc1")(means))
        gate = nn.sigmoid(linear(maps.shape[-1], name="fc2")(hidden))
        return maps * gate[:, None, None]


class MBConv(nn.Module):
    """One block: (b, h, w, c) -> (b, H, W, features), H = ceil(h / stride).

    At stride 1 the channels are `features` already. In training the branch is left out
    for a sample with probability `drop_path`.
    """

    features: int
    stride: int = 1  # or 2
    drop_path: float = 0.0
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
        norm = functools.partial(BatchNorm, self.dtype)
        linear = functools.partial(Pointwise, dtype=self.dtype)
        shortcut = maps
        if self.stride == 2:
            shortcut = halve(maps)
            if maps.shape[-1] != self.features:
                shortcut = linear(self.features, name="shortcut")(shortcut)
        hidden_dim = (4 * self.features + 4) // 8 * 8  # the original's: eights
        maps = norm(name="pre_norm")(maps, train)
        maps = linear(hidden_dim, use_bias=False, name="conv1")(maps)
        maps = gelu(norm(name="norm1")(maps, train))
        maps = DepthwiseConv(self.stride, self.dtype, name="conv2")(maps)
        maps = gelu(norm(name="norm2")(maps, train))
        maps = SqueezeExcite(self.features // 4, self.dtype, name="se")(maps)
        maps = linear(self.features, name="conv3")(maps)
        whole = layers.Dropout(self.drop_path, (1, 2, 3), deterministic=not train)
        return shortcut + whole(maps)


def halve(maps: jax.Array) -> jax.Array:
    """Average 2 x 2 places, zeros past an odd edge: (b, h, w, c) -> (b, H, W, c)."""
    batch, height, width, channels = maps.shape
    maps = jnp.pad(maps, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    height, width = maps.shape[1] // 2, maps.shape[2] // 2
    return maps.reshape(batch, height, 2, width, 2, channels).mean((2, 4))
