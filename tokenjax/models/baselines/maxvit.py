"""MaxViT: convolution, attention in windows, attention in grids, block after block.

    maps = conv(act(norm(conv(images))))                 the stem, stride 2
    maps = grid_attention(window_attention(MBConv(maps)))   the first of a stage halves
    logits = fc(tanh(pre_logits(LayerNorm(mean over places of maps))))

Windows and grids are of img_size / 32 places each way, 7 at 224 pixels and 16 at 512,
so that the last of the four stages is one window.

Source: Tu et al. 2022, MaxViT (arXiv 2204.01697); arguments, defaults and keys are
those of timm 1.0.31, maxxvit.py, `MaxxVit` as `maxvit_tiny_tf_224` calls it (the
weights that the paper's authors published, by TensorFlow). Ours: `dtype`.

Axes: batch b, map h, w, channels c.
"""

import functools
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import LARGEST_SIZE, DType, at_least
from tokenjax.models import contract, layers, patch_grid
from tokenjax.models.argument_types import (
    Channels,
    Classes,
    DropPath,
    HeadDropout,
    SideOrSize,
    StageDepths,
    StageWidths,
    Width,
)
from tokenjax.models.baselines.maxvit_attention import PartitionAttention
from tokenjax.models.baselines.mbconv import BatchNorm, MBConv, fan_out_init, gelu
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.layers import Aux
from tokenjax.models.parameter_layers import number_stages, whole

_PIXELS_PER_PLACE = 32  # of a window's side


class MaxViT(CheckedModule):
    """Images (b, height, width, in_chans) -> (logits (b, num_classes) in float32, aux).

    `img_size` sets the window; images may be larger or smaller than it, if every
    stage's map is whole windows. `aux`: "losses" {}. In training dropout before the
    last layer, and stochastic depth of rates 0 to `drop_path_rate` from first to last
    block, draw from the rng "dropout".

    Raises: UserError for arguments that do not fit together, ValueError for images that
    do not fit the arguments.
    """

    img_size: SideOrSize = 224
    in_chans: Channels = 3
    num_classes: Classes = 1000
    embed_dim: Annotated[StageWidths, at_least(4, LARGEST_SIZE)] = (64, 128, 256, 512)
    depths: StageDepths = (2, 2, 5, 2)
    stem_width: Annotated[Width, "channels of the first convolutions"] = 64
    head_hidden_size: Annotated[Width, "hidden channels of the classifier"] = 512
    transformer_dim_head: Annotated[Width, "channels of an attention head"] = 32
    drop_rate: HeadDropout = 0.0
    drop_path_rate: DropPath = 0.0
    dtype: DType = jnp.float32

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        stages = len(self.embed_dim)
        return [
            (
                not stages or stages != len(self.depths),
                "embed_dim and depths must be of as many stages, one or more",
            ),
            (
                any(dim % self.transformer_dim_head for dim in self.embed_dim),
                "embed_dim must divide by transformer_dim_head",
            ),
            *((True, sentence) for sentence in self._bad_sizes()),
        ]

    @property
    def image_size(self) -> tuple[int, int]:
        """Return (height, width) of the images that the windows are made for."""
        return patch_grid.pair(self.img_size)

    @property
    def window(self) -> tuple[int, int]:
        """Return the places of a window and of a grid: (down, right)."""
        height, width = self.image_size
        return height // _PIXELS_PER_PLACE, width // _PIXELS_PER_PLACE

    def _bad_sizes(self) -> list[str]:
        """Return a sentence for each side of `img_size` that windows do not divide."""

        def fits(pixels: int) -> bool:
            window = pixels // _PIXELS_PER_PLACE
            return _whole_windows(pixels, window, len(self.embed_dim))

        sentences = []
        for pixels in self.image_size:
            if fits(pixels):
                continue
            # A multiple of 32 always fits.
            below = [size for size in range(pixels - 31, pixels) if fits(size)][-1:]
            above = next(size for size in range(pixels, pixels + 33) if fits(size))
            nearest = " and ".join(map(str, [*below, above]))
            sentences.append(
                f"img_size {pixels} does not divide into windows in every stage, as "
                f"multiples of {_PIXELS_PER_PLACE} do; nearest: {nearest}"
            )
        return sentences

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        return {
            contract.HEAD: ("head/**",),
            contract.INPUT: ("stem_conv1/kernel",),
            contract.MAPS: ("**/relative_position_bias_table",),
        }

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""
        return [
            whole("stem_*"),
            *number_stages("stages", self.depths, lambda stage: ()),
            whole("head_norm", "pre_logits", "head"),
        ]

    def example_inputs(self, batch_size: int) -> tuple[jax.Array, ...]:
        """Return zeros of the shapes that the model takes."""
        return (jnp.zeros((batch_size, *self.image_size, self.in_chans)),)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, Aux]:
        """Compute; see the class."""
        self._check(images)
        dtype = jnp.dtype(self.dtype)
        maps = self._stem(images.astype(dtype), train)  # (b, height/2, width/2, c)
        rates = iter(np.linspace(0, self.drop_path_rate, sum(self.depths)).tolist())
        stages = zip(self.embed_dim, self.depths, strict=True)
        for stage, (dim, depth) in enumerate(stages):
            for index in range(depth):
                maps = MaxViTBlock(
                    dim,
                    self.window,
                    dim // self.transformer_dim_head,
                    stride=1 if index else 2,
                    drop_path=next(rates),
                    dtype=dtype,
                    name=f"stages_{stage}_blocks_{index}",
                )(maps, train)
        return self._head(maps, train), {"losses": {}}

    def _stem(self, images: jax.Array, train: bool) -> jax.Array:
        convolution = functools.partial(
            nn.Conv,
            self.stem_width,
            (3, 3),
            padding="SAME",
            kernel_init=fan_out_init,
            dtype=images.dtype,
        )
        maps = convolution(strides=2, name="stem_conv1")(images)
        maps = gelu(BatchNorm(images.dtype, name="stem_norm1")(maps, train))
        return convolution(name="stem_conv2")(maps)

    def _head(self, maps: jax.Array, train: bool) -> jax.Array:
        linear = functools.partial(layers.Linear, dtype=maps.dtype)
        pooled = maps.mean((1, 2), dtype=jnp.float32)  # (b, c)
        pooled = layers.LayerNorm(dtype=maps.dtype, name="head_norm")(pooled)
        hidden = jnp.tanh(linear(self.head_hidden_size, name="pre_logits")(pooled))
        hidden = layers.Dropout(self.drop_rate, deterministic=not train)(hidden)
        return linear(self.num_classes, exact=True, name="head")(hidden)

    def _check(self, images: jax.Array) -> None:
        stages = len(self.embed_dim)
        if images.ndim != 4 or images.shape[-1] != self.in_chans:
            layers.check_images(images, (*self.image_size, self.in_chans))
        for pixels, window in zip(images.shape[1:3], self.window, strict=True):
            if not _whole_windows(pixels, window, stages):
                raise ValueError(
                    f"images of {images.shape[1]} x {images.shape[2]} are not whole "
                    f"windows of {self.window[0]} x {self.window[1]} places in every "
                    f"stage; img_size {self.image_size} and its multiples are"
                )


class MaxViTBlock(nn.Module):
    """MBConv, windows, grids: (b, h, w, c) -> (b, h / stride, w / stride, features)."""

    features: int
    window: tuple[int, int]
    num_heads: int
    stride: int = 1
    drop_path: float = 0.0
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
        convolution = MBConv(
            self.features, self.stride, self.drop_path, self.dtype, name="conv"
        )
        maps = convolution(maps, train)
        for partition, name in (("window", "attn_block"), ("grid", "attn_grid")):
            maps = PartitionAttention(
                partition,
                self.window,
                self.num_heads,
                self.drop_path,
                self.dtype,
                name=name,
            )(maps, train)
        return maps


def _whole_windows(pixels: int, window: int, stages: int) -> bool:
    """Return whether the window divides every stage's map, halved on, along a side."""
    maps = [-(-pixels // 2 ** (stage + 2)) for stage in range(stages)]
    return window > 0 and not any(places % window for places in maps)
