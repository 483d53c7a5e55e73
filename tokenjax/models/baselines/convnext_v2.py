"""ConvNeXt V2: blocks of a depthwise convolution and an MLP with GRN.

    x += fc2(GRN(gelu(fc1(LayerNorm(depthwise(x))))))

Global response normalisation weighs each channel by its share in a sample's map:

    GRN(x) = x + scale x G / (mean_c G + 1e-6) + bias,   G[c] = ||x[:, :, c]||_2

A stage but the first starts with LayerNorm and a convolution of 2 x 2 places at stride
2. Logits = fc(dropout(LayerNorm(mean over places))). LayerNorm has epsilon 1e-6; it,
GRN's norms and the mean over places are computed in float32. In training stochastic
depth, of rates 0 to `drop_path_rate` from first to last block.

Axes: batch b, map h, w, channels c.

Source: Woo et al. 2023, ConvNeXt V2 (arXiv 2301.00808). Arguments and keys as timm
1.0.31, convnext.py, `ConvNeXt` with use_grn=True, ls_init_value=None.
"""

import functools
import math
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import SIZE, DType
from tokenjax.models import contract, layers, patch_grid
from tokenjax.models.argument_types import (
    Channels,
    Classes,
    DropPath,
    HeadDropout,
    PatchSize,
    SideOrSize,
    StageDepths,
    StageWidths,
)
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.encoder import normal_init
from tokenjax.models.layers import Aux
from tokenjax.models.parameter_layers import number_stages, whole
from tokenjax.ops.depthwise import depthwise_convolution

_EPSILON = 1e-6
_STEP = 2  # from one stage to the next
PRESETS = {
    "convnextv2_tiny": {"depths": (3, 3, 9, 3), "dims": (96, 192, 384, 768)},
}


def kernel_init(key: jax.Array, shape: tuple, dtype: DType = jnp.float32) -> jax.Array:
    """Draw a convolution from normal(0.02), as a matrix, which is the same numbers.

    XLA takes up to ten times as long to compile a draw of four axes for CPU.
    """
    rows = math.prod(shape[:-1])
    return normal_init(key, (rows, shape[-1]), dtype).reshape(shape)


class DepthwiseConv(nn.Module):
    """A convolution of every channel by itself: (b, h, w, c) -> (b, h, w, c)."""

    kernel_size: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        side, channels = self.kernel_size, maps.shape[-1]
        kernel = self.param("kernel", kernel_init, (side, side, 1, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        outputs = depthwise_convolution(maps.astype(self.dtype), kernel)
        return outputs + bias.astype(self.dtype)


class GlobalResponseNorm(nn.Module):
    """GRN over the map of each sample: (b, h, w, c) -> (b, h, w, c)."""

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        features = (maps.shape[-1],)
        scale = self.param("scale", nn.initializers.zeros, features)
        bias = self.param("bias", nn.initializers.zeros, features)
        squared = jnp.square(maps.astype(jnp.float32)).sum((1, 2), keepdims=True)
        # A channel of zeros has norm 0 and, as in PyTorch, no gradient; not NaN.
        some = squared > 0
        norm = jnp.where(some, jnp.sqrt(jnp.where(some, squared, 1.0)), 0.0)
        share = norm / (norm.mean(-1, keepdims=True) + _EPSILON)  # (b, 1, 1, c)
        outputs = maps * (1 + scale * share) + bias  # float32, rounded once
        return outputs.astype(maps.dtype)


class ConvNeXtBlock(nn.Module):
    """One block: (b, h, w, c) -> (b, h, w, c)."""

    kernel_size: int
    drop_path: float
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
        """Compute; see the module."""
        linear = functools.partial(
            layers.Linear,
            kernel_init=normal_init,
            bias_init=nn.initializers.zeros,
            dtype=self.dtype,
        )
        channels = maps.shape[-1]
        hidden = DepthwiseConv(self.kernel_size, self.dtype, name="conv_dw")(maps)
        hidden = nn.LayerNorm(_EPSILON, dtype=self.dtype, name="norm")(hidden)
        hidden = layers.gelu(linear(4 * channels, name="fc1")(hidden))
        hidden = GlobalResponseNorm(name="grn")(hidden)
        hidden = linear(channels, name="fc2")(hidden)
        drop = layers.Dropout(self.drop_path, (1, 2, 3), deterministic=not train)
        return maps + drop(hidden)


class ConvNeXtV2(CheckedModule):
    """Classifier: images (b, height, width, in_chans) -> (logits, aux).

    `aux`: "losses" {}. Images may be of any size from `least_size` pixels on; what does
    not fill a patch, or a pair of places between stages, is cut off. `img_size` is only
    what `example_inputs` gives.

    Raises: UserError for arguments that do not fit together, ValueError for images that
    do not fit the arguments.
    """

    img_size: Annotated[
        SideOrSize, "of the images it is tried with: pixels a side, or (height, width)"
    ] = 224
    in_chans: Channels = 3
    num_classes: Classes = 1000
    depths: StageDepths = (3, 3, 9, 3)
    dims: StageWidths = (96, 192, 384, 768)
    kernel_sizes: Annotated[
        int, SIZE, "places a side of a block's convolution; odd"
    ] = 7
    patch_size: PatchSize = 4
    drop_rate: HeadDropout = 0.0
    drop_path_rate: DropPath = 0.0
    dtype: DType = "float32"

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        stages = len(self.dims)
        if not stages or stages != len(self.depths):
            sentence = "depths and dims must be of as many stages, one or more"
            return [(True, sentence)]
        least = self.least_size
        return [
            (self.kernel_sizes % 2 == 0, "kernel_sizes must be odd"),
            (min(self.image_size) < least, f"img_size must be at least {least}"),
        ]

    @property
    def image_size(self) -> tuple[int, int]:
        """Return (height, width) of the example images."""
        return patch_grid.pair(self.img_size)

    @property
    def least_size(self) -> int:
        """Return the smallest side of an image that leaves the last stage a place."""
        return self.patch_size * _STEP ** (len(self.dims) - 1)

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        return {
            contract.HEAD: ("head/**",),
            contract.INPUT: ("stem/kernel",),
        }

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""

        def entry(stage: int) -> tuple[str, ...]:
            return whole(f"downsample_norm_{stage}", f"downsample_{stage}")

        return [
            whole("stem", "stem_norm"),
            *number_stages("stages", self.depths, entry),
            whole("head_norm", "head"),
        ]

    def unseen_pixels(self) -> tuple[int, int]:
        """Return the rows and columns that fill no patch, see `contract.Crops`."""
        side = self.patch_size
        return patch_grid.left_over(self.image_size, side, (side, side))

    def example_inputs(self, batch_size: int) -> tuple[jax.Array, ...]:
        """Return zeros of the shapes that the model takes."""
        return (jnp.zeros((batch_size, *self.image_size, self.in_chans)),)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, Aux]:
        """Compute; see the class."""
        self._check(images)
        dtype = jnp.dtype(self.dtype)
        norm = functools.partial(nn.LayerNorm, _EPSILON, dtype=dtype)
        maps = self._merge(images, self.patch_size, self.dims[0], "stem")
        maps = norm(name="stem_norm")(maps)  # (b, h, w, c)
        rates = iter(np.linspace(0, self.drop_path_rate, sum(self.depths)).tolist())
        for stage, (dim, depth) in enumerate(zip(self.dims, self.depths, strict=True)):
            if stage:
                maps = norm(name=f"downsample_norm_{stage}")(maps)
                maps = self._merge(maps, _STEP, dim, f"downsample_{stage}")
            for index in range(depth):
                name = f"stages_{stage}_blocks_{index}"
                block = ConvNeXtBlock(self.kernel_sizes, next(rates), dtype, name=name)
                maps = block(maps, train)
        features = maps.astype(jnp.float32).mean((1, 2))  # (b, c)
        features = norm(name="head_norm")(features)
        features = layers.Dropout(self.drop_rate, deterministic=not train)(features)
        logits = layers.Linear(
            self.num_classes,
            normal_init,
            nn.initializers.zeros,
            dtype,
            exact=True,
            name="head",
        )(features)
        return logits, {"losses": {}}

    def _merge(self, maps: jax.Array, side: int, dim: int, name: str) -> jax.Array:
        """Convolve `side` places at stride `side`: a smaller map."""
        batch, height, width = maps.shape[:3]
        tokens = layers.PatchEmbedding(
            side, dim, jnp.dtype(self.dtype), kernel_init=kernel_init, name=name
        )(maps)
        return tokens.reshape(batch, height // side, width // side, dim)

    def _check(self, images: jax.Array) -> None:
        fits = images.ndim == 4 and images.shape[-1] == self.in_chans
        if not fits or min(images.shape[1:3]) < self.least_size:
            raise ValueError(
                f"the model takes images (batch, height, width, {self.in_chans}), "
                f"channels last, height and width at least {self.least_size}; "
                f"got {tuple(images.shape)}"
            )
