"""Parts of the routing models: encoder, attention head, networks, aggregator.

Sizes are pixels and channels last; FLOPs are 2 per multiply-add, of one image or patch.

Source: the Vision Attention Routing Framework.
"""

import itertools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import DType
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.layers import (
    BatchNorm,
    Dropout,
    Linear,
    PatchEmbedding,
    torch_bias_init,
    torch_kernel_init,
)
from tokenjax.ops.maximum import first_maximum

EncoderKind = Literal["convolutional", "lean"]
AttentionKind = Literal["spatial", "global"]
AggregatorKind = Literal["concat", "mean", "attention"]
STEM = 4  # pixels a side that the lean encoder takes together


class Convolution(nn.Module):
    """3x3 convolution of stride 1, padded: (b, h, w, in) -> (b, h, w, features)."""

    features: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        channels = images.shape[-1]
        shape = (3, 3, channels, self.features)
        kernel = self.param("kernel", torch_kernel_init, shape)
        bias_init = torch_bias_init(9 * channels)
        bias = self.param("bias", bias_init, (self.features,))
        features = jax.lax.conv_general_dilated(
            images.astype(self.dtype),
            kernel.astype(self.dtype),
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return features + bias.astype(self.dtype)


class Encoder(CheckedModule):
    """Images (b, h, w, c) to features (b, h', w', out_channels).

    "convolutional": num_layers x [convolution -> BatchNorm -> ReLU -> 2x2 max pool],
    h' = h // 2^num_layers.
    "lean" (ours): a linear map of 4x4 pixels without overlap, then (num_layers - 1)
    convolutions, each with BatchNorm and ReLU; h' = h // 4. Nothing is computed at the
    image's own resolution, which is where the other one spends its time.
    """

    kind: EncoderKind
    out_channels: int
    num_layers: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        features = images
        for index in range(self.num_layers):
            name, width = f"convolutions_{index}", self.out_channels
            if self.kind == "lean" and index == 0:
                rows = images.shape[1] // STEM
                stem = PatchEmbedding(STEM, width, self.dtype, name="stem")
                features = stem(images).reshape(len(images), rows, -1, width)
            else:
                features = Convolution(width, self.dtype, name=name)(features)
            features = BatchNorm(self.dtype, name=f"norms_{index}")(features, train)
            if self.kind == "convolutional":
                features = halve(features)
            features = nn.relu(features)
        return features

    def flops(self, side: int, channels: int) -> int:
        """Count the products on one image; taps on the padding count."""
        total, width = 0, self.out_channels
        for index in range(self.num_layers):
            if self.kind == "lean" and index == 0:
                side //= STEM
                total += 2 * STEM**2 * channels * width * side * side
            else:
                total += 2 * 9 * channels * width * side * side
            side, channels = side // 2 if self.kind != "lean" else side, width
        return total


def halve(features: jax.Array) -> jax.Array:
    """Pool maxima of 2x2, stride 2 (b, h, w, c); an odd last row or column is cut.

    Written as maxima of slices: on CPU its gradient takes a third of the time that
    `nn.max_pool`'s takes. Of equal values the first, by rows, has the gradient.
    """
    batch, height, width, channels = features.shape
    features = features[:, : height // 2 * 2, : width // 2 * 2]
    cells = features.reshape(batch, height // 2, 2, width // 2, 2, channels)
    upper = first_maximum(cells[:, :, 0, :, 0], cells[:, :, 0, :, 1])
    lower = first_maximum(cells[:, :, 1, :, 0], cells[:, :, 1, :, 1])
    return first_maximum(upper, lower)


class AttentionHead(CheckedModule):
    """Features (b, h, w, c) to scores (b, grid * grid) in (0, 1), float32.

    "spatial": features averaged over each cell of the grid, then per cell linear to 1
    (`num_layers` = 1), or (num_layers - 1) x [linear -> ReLU] before it, and a sigmoid.
    "global": the same of the features averaged over the image, with grid * grid
    outputs.
    """

    kind: AttentionKind
    grid: int
    hidden_dim: int
    num_layers: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        cells = self.grid * self.grid
        if self.kind == "spatial":
            hidden = pool_to_grid(features, self.grid)  # (b, n, c)
        else:
            hidden = features.mean(axis=(1, 2))  # (b, c)
        for index in range(self.num_layers - 1):
            linear = Linear(self.hidden_dim, dtype=self.dtype, name=f"layers_{index}")
            hidden = nn.relu(linear(hidden))
        outputs = 1 if self.kind == "spatial" else cells
        name = f"layers_{self.num_layers - 1}"
        last = Linear(outputs, dtype=self.dtype, exact=True, name=name)
        return nn.sigmoid(last(hidden).reshape(-1, cells))

    def flops(self, channels: int) -> int:
        """Count the linear layers on one image; pooling counts nothing."""
        cells = self.grid * self.grid
        spatial = self.kind == "spatial"
        widths = [channels] + [self.hidden_dim] * (self.num_layers - 1)
        widths += [1 if spatial else cells]
        return linear_flops(widths) * (cells if spatial else 1)


class PatchMLP(nn.Module):
    """num_layers x [linear -> ReLU -> dropout] -> linear: (rows, in) -> (rows, out)."""

    hidden_dim: int
    output_dim: int
    num_layers: int
    dropout: float
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, rows: jax.Array, train: bool) -> jax.Array:
        drop = Dropout(self.dropout, deterministic=not train)
        for index in range(self.num_layers):
            linear = Linear(self.hidden_dim, dtype=self.dtype, name=f"layers_{index}")
            rows = drop(nn.relu(linear(rows)))
        name = f"layers_{self.num_layers}"
        return Linear(self.output_dim, dtype=self.dtype, name=name)(rows)

    def flops(self, inputs: int) -> int:
        """Count FLOPs of one row."""
        return linear_flops(
            [inputs] + [self.hidden_dim] * self.num_layers + [self.output_dim]
        )


class Aggregator(CheckedModule):
    """Patch embeddings (b, n, d), scores (b, n) -> (b, features).

    "concat": linear of the concatenated embeddings; "mean": of their mean;
    "attention": of their sum weighted by softmax(scale * scores).
    """

    kind: AggregatorKind
    features: int
    scale: float = 1.0
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, embeddings: jax.Array, scores: jax.Array) -> jax.Array:
        if self.kind == "concat":
            pooled = embeddings.reshape(len(embeddings), -1)
        elif self.kind == "mean":
            pooled = embeddings.mean(axis=1)
        else:
            weights = nn.softmax(self.scale * scores, axis=-1).astype(embeddings.dtype)
            pooled = jnp.einsum("bn,bnd->bd", weights, embeddings)
        return Linear(self.features, dtype=self.dtype, name="linear")(pooled)

    def flops(self, num_patches: int, dim: int) -> int:
        """Count FLOPs of one image."""
        weighted = 2 * num_patches * dim if self.kind == "attention" else 0
        inputs = num_patches * dim if self.kind == "concat" else dim
        return weighted + linear_flops([inputs, self.features])


class TaskHead(nn.Module):
    """linear -> ReLU -> dropout -> linear: (b, d) -> logits (b, classes), float32."""

    hidden_dim: int
    num_classes: int
    dropout: float
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, pooled: jax.Array, train: bool) -> jax.Array:
        hidden = Linear(self.hidden_dim, dtype=self.dtype, name="hidden")(pooled)
        hidden = Dropout(self.dropout, deterministic=not train)(nn.relu(hidden))
        return Linear(
            self.num_classes, dtype=self.dtype, exact=True, name="classifier"
        )(hidden)

    def flops(self, inputs: int) -> int:
        """Count FLOPs of one image."""
        return linear_flops([inputs, self.hidden_dim, self.num_classes])


def linear_flops(widths: list[int]) -> int:
    """Sum 2 a b over every pair of neighbouring widths."""
    return sum(2 * a * b for a, b in itertools.pairwise(widths))


def cut_patches(images: jax.Array, grid: int) -> jax.Array:
    """Cut images (b, h, w, c) by rows: (b, grid * grid, h / grid * w / grid * c)."""
    batch, height, width, channels = images.shape
    rows, columns = height // grid, width // grid
    cells = images.reshape(batch, grid, rows, grid, columns, channels)
    return cells.swapaxes(2, 3).reshape(batch, grid * grid, -1)


def pool_to_grid(features: jax.Array, grid: int) -> jax.Array:
    """Average features (b, h, w, c) over cells: (b, grid * grid, c).

    Cell i spans rows floor(i h / grid) to ceil((i + 1) h / grid), likewise columns, as
    `torch.nn.AdaptiveAvgPool2d`: cells overlap where the grid does not divide h.
    """
    batch, height, width, channels = features.shape
    if height % grid == 0 and width % grid == 0:
        shape = (batch, grid, height // grid, grid, width // grid, channels)
        return features.reshape(shape).mean(axis=(2, 4)).reshape(batch, -1, channels)
    rows = jnp.asarray(_pooling_matrix(height, grid), features.dtype)
    columns = jnp.asarray(_pooling_matrix(width, grid), features.dtype)
    pooled = jnp.einsum("gh,bhwc,kw->bgkc", rows, features, columns)
    return pooled.reshape(batch, -1, channels)


def _pooling_matrix(size: int, grid: int) -> np.ndarray:
    """Return (grid, size), each row the mean over one cell."""
    matrix = np.zeros((grid, size), np.float32)
    for cell in range(grid):
        start, end = cell * size // grid, -(-(cell + 1) * size // grid)
        matrix[cell, start:end] = 1 / (end - start)
    return matrix
