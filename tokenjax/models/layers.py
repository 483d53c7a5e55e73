"""Blocks that the architectures share, with PyTorch's conventions.

Parameters are float32; `dtype` is what the arithmetic runs in. What blocks add to, the
tokens or the map between them, is float32 whatever they compute in (`STREAM`): in
bfloat16 every sum would be rounded to 8 bits, and these errors, of all branches, are
more than those of all products together. Defaults follow
`torch.nn`: weights and biases uniform in +-1/sqrt(fan_in), LayerNorm epsilon 1e-5,
exact (erf) GELU.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import DType
from tokenjax.ops.affine import affine
from tokenjax.ops.dropout import dropout
from tokenjax.ops.gelu import gelu

Initializer = Callable[..., jax.Array]
Activation = Callable[[jax.Array], jax.Array]
ModuleMaker = Callable[..., nn.Module]  # a class, or one with some arguments given
Aux = dict[str, Any]  # what a model says besides its answer

# Variance 1/(3 fan_in), uniform: limits of +-1/sqrt(fan_in).
torch_kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5)
STREAM = jnp.float32  # of what blocks add to


def quick_gelu(inputs: jax.Array) -> jax.Array:
    """Compute CLIP's approximation of GELU, x sigmoid(1.702 x), in float32."""
    values = inputs.astype(jnp.float32)
    return (values * jax.nn.sigmoid(1.702 * values)).astype(inputs.dtype)


ACTIVATIONS: dict[str, Activation] = {"gelu": gelu, "quick_gelu": quick_gelu}


def torch_bias_init(fan_in: int) -> Initializer:
    """Return what draws `torch.nn.Linear`'s bias: uniform in +-1/sqrt(fan_in)."""
    limit = fan_in**-0.5

    def init(key: jax.Array, shape: tuple, dtype: DType = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


class Linear(nn.Module):
    """y = x W + b over the last axis: (..., in) -> (..., features).

    b is left out with `use_bias` off. The leading axes are flattened first: on CPU the
    weight gradient of a 2-D product takes about half the time of the 3-D one
    (`nn.Dense` on (batch, tokens, dim)). y is of `dtype`, rounded once; what ends a
    network is `exact`: float32, of the same products.
    """

    features: int
    kernel_init: Initializer = torch_kernel_init
    bias_init: Initializer | None = None
    dtype: DType = jnp.float32
    use_bias: bool = True
    exact: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        fan_in = inputs.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (fan_in, self.features))
        rows = inputs.reshape(-1, fan_in).astype(self.dtype)  # (rows, in)
        kernel, bias = kernel.astype(self.dtype), None
        if self.use_bias:
            bias_init = self.bias_init or torch_bias_init(fan_in)
            bias = self.param("bias", bias_init, (self.features,))
        outputs = affine(rows, kernel, bias, self.exact)
        return outputs.reshape(*inputs.shape[:-1], self.features)


class Dropout(nn.Dropout):
    """`flax.linen.Dropout` in a third of the time on CPU: see `ops.dropout`."""

    @nn.compact
    def __call__(
        self,
        inputs: jax.Array,
        deterministic: bool | None = None,
        rng: jax.Array | None = None,
    ) -> jax.Array:
        """Drop, (...) -> (...), by `rng`, or else by the stream "dropout"."""
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return inputs
        if self.rate == 0:
            return inputs
        key = self.make_rng(self.rng_collection) if rng is None else rng
        return dropout(inputs, self.rate, key, tuple(self.broadcast_dims))


class BatchNorm(nn.Module):
    """torch.nn.BatchNorm over the last axis, by float32 statistics of all others.

    In training by the batch's own mean and (biased) variance, over all devices of a
    jitted step; the running averages, which inference uses, move by `momentum` towards
    its mean and unbiased variance, as PyTorch's do (flax.linen's is biased).
    Without `learn_bias` the bias is there and gets no gradient.
    """

    dtype: DType = jnp.float32
    epsilon: float = 1e-5
    momentum: float = 0.1
    learn_bias: bool = True

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        features = inputs.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        if not self.learn_bias:
            bias = jax.lax.stop_gradient(bias)
        shape = (features,)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        mean, var = running_mean.value, running_var.value
        if train:
            axes = tuple(range(inputs.ndim - 1))
            values = inputs.astype(jnp.float32)
            mean = values.mean(axes)
            var = jnp.square(values - mean).mean(axes)
            if not self.is_initializing():
                count = inputs.size // features
                unbiased = var * (count / max(count - 1, 1))
                keep, move = 1 - self.momentum, self.momentum
                running_mean.value = keep * running_mean.value + move * mean
                running_var.value = keep * running_var.value + move * unbiased
        factor = scale * jax.lax.rsqrt(var + self.epsilon)  # (features,)
        # In float32: the two terms may be large and cancel.
        outputs = inputs.astype(jnp.float32) * factor + (bias - mean * factor)
        return outputs.astype(self.dtype)


class PatchEmbedding(nn.Module):
    """Patches to tokens, row by row: (b, height, width, c) -> (b, tokens, dim).

    A convolution without padding (what does not fill a patch is cut off), of stride
    `patch_size`, then computed as one matrix product, or of (rows, columns) `stride`,
    which may let patches overlap. The kernel has a convolution's shape (patch, patch,
    in, dim) either way.
    """

    patch_size: int
    embed_dim: int
    dtype: DType = jnp.float32
    stride: tuple[int, int] | None = None
    use_bias: bool = True
    kernel_init: Initializer = torch_kernel_init

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        side, channels = self.patch_size, images.shape[-1]
        shape = (side, side, channels, self.embed_dim)
        kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
        images, bias = images.astype(self.dtype), None
        if self.use_bias:
            bias_init = torch_bias_init(side * side * channels)
            bias = self.param("bias", bias_init, (self.embed_dim,))
        if self.stride in (None, (side, side)):
            tokens = self._product(images, kernel, bias)
        else:
            tokens = jax.lax.conv_general_dilated(
                images,
                kernel,
                self.stride,
                "VALID",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )  # (b, rows, columns, dim)
            if bias is not None:
                tokens += bias.astype(self.dtype)
        return tokens.reshape(len(images), -1, self.embed_dim)

    def _product(
        self, images: jax.Array, kernel: jax.Array, bias: jax.Array | None
    ) -> jax.Array:
        batch, height, width, channels = images.shape
        side = self.patch_size
        rows, columns = height // side, width // side
        images = images[:, : rows * side, : columns * side]
        patches = images.reshape(batch, rows, side, columns, side, channels)
        patches = patches.swapaxes(2, 3).reshape(batch * rows * columns, -1)
        kernel = kernel.reshape(-1, self.embed_dim)
        return affine(patches, kernel, bias)


class MLP(nn.Module):
    """linear -> activation -> dropout -> linear -> dropout: (..., dim) -> (..., dim).

    The activation is exact GELU unless another is given.
    """

    hidden_dim: int
    dropout: float = 0.0
    linear: ModuleMaker = Linear
    activation: Activation = gelu

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> jax.Array:
        drop = Dropout(self.dropout, deterministic=not train)
        hidden = self.linear(self.hidden_dim, name="fc1")(tokens)
        hidden = drop(self.activation(hidden))
        return drop(self.linear(tokens.shape[-1], name="fc2")(hidden))


def put_in_front(front: Sequence[jax.Array], patches: jax.Array) -> jax.Array:
    """Put tokens that all images share, each (1, k, c), in front of (b, p, c)."""
    batch = len(patches)
    shared = [
        jnp.broadcast_to(tokens.astype(patches.dtype), (batch, *tokens.shape[1:]))
        for tokens in front
    ]
    return jnp.concatenate([*shared, patches], axis=1)


def split_heads(qkv: jax.Array, num_heads: int) -> tuple[jax.Array, ...]:
    """Split (batch, tokens, 3 * dim), ordered (q|k|v, head, head_dim), into three.

    Returns: query, key, value, each (batch, heads, tokens, head_dim).
    """
    batch, tokens, width = qkv.shape
    split = qkv.reshape(batch, tokens, 3, num_heads, width // (3 * num_heads))
    query, key, value = split.transpose(2, 0, 3, 1, 4)
    return query, key, value


def merge_heads(values: jax.Array) -> jax.Array:
    """Join (batch, heads, tokens, head_dim) to (batch, tokens, heads * head_dim)."""
    batch, heads, tokens, head_dim = values.shape
    return values.swapaxes(1, 2).reshape(batch, tokens, heads * head_dim)


def check_images(images: jax.Array, expected: tuple[int, int, int]) -> None:
    """Raise ValueError unless images are (batch, *expected), channels last."""
    if images.ndim != 4 or images.shape[1:] != expected:
        wanted = ", ".join(map(str, expected))
        raise ValueError(
            f"the model takes images (batch, {wanted}), channels last; "
            f"got {tuple(images.shape)}"
        )
