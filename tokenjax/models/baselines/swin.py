"""Swin transformer: attention inside windows, which every other block shifts.

    x += attention(LayerNorm(x));   x += MLP(LayerNorm(x))

in windows of `window_size` places, those of every other block shifted by half a window:
see `tokenjax.models.baselines.swin_attention`. Where a map is no larger than the
window, the window is the map and nothing shifts. A stage but the first starts by
joining 2 x 2 places: LayerNorm and a linear layer on their channels, zeros being added
to an odd map.

Logits = head(dropout(mean over places of LayerNorm)). LayerNorm (epsilon 1e-5) and the
mean over places are computed in float32. In training stochastic depth, of rates
0 to `drop_path_rate` from first to last block.

Axes: batch b, map h, w, channels c.

Source: Liu et al. 2021, Swin Transformer (arXiv 2103.14030). Arguments and keys as timm
1.0.31, swin_transformer.py, `SwinTransformer`.
"""

import functools
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import SIZE, DType
from tokenjax.models import contract, layers, patch_grid
from tokenjax.models.argument_types import (
    AttentionDropout,
    Channels,
    Classes,
    Dropout,
    DropPath,
    HeadDropout,
    MlpRatio,
    PatchSize,
    SideOrSize,
    StageDepths,
    Width,
)
from tokenjax.models.baselines.swin_attention import (
    POSITION_TABLE,
    Linear,
    WindowAttention,
)
from tokenjax.models.baselines.windows import Size
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.layers import Aux
from tokenjax.models.parameter_layers import number_stages, whole
from tokenjax.models.position_embedding import Places

PRESETS = {
    "swin_tiny": {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24)},
    "swin_base": {
        "embed_dim": 128,
        "depths": (2, 2, 18, 2),
        "num_heads": (4, 8, 16, 32),
    },
}


class SwinBlock(nn.Module):
    """One block: (b, h, w, c) -> (b, h, w, c)."""

    num_heads: int
    size: Size
    shift: Size
    mlp_ratio: float
    qkv_bias: bool
    dropout: float
    attention_dropout: float
    drop_path: float
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
        """Compute; see the module."""
        norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
        attention = WindowAttention(
            self.num_heads,
            self.size,
            self.shift,
            self.qkv_bias,
            self.dropout,
            self.attention_dropout,
            self.dtype,
            name="attn",
        )
        mlp = layers.MLP(
            int(maps.shape[-1] * self.mlp_ratio),
            self.dropout,
            functools.partial(Linear, dtype=self.dtype),
            name="mlp",
        )
        drop = layers.Dropout(self.drop_path, (1, 2, 3), deterministic=not train)
        maps = maps + drop(attention(norm(name="norm1")(maps), train))
        return maps + drop(mlp(norm(name="norm2")(maps), train))


class PatchMerging(nn.Module):
    """Joins 2 x 2 places: (b, h, w, c) -> (b, ceil(h / 2), ceil(w / 2), 2 c)."""

    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        batch, height, width, channels = maps.shape
        maps = jnp.pad(maps, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        rows, columns = maps.shape[1] // 2, maps.shape[2] // 2
        places = maps.reshape(batch, rows, 2, columns, 2, channels)
        # The original goes down the first column, then down the second.
        places = places.transpose(0, 1, 3, 4, 2, 5)
        joined = places.reshape(batch, rows, columns, 4 * channels)
        joined = layers.LayerNorm(dtype=self.dtype, name="norm")(joined)
        return Linear(2 * channels, dtype=self.dtype, use_bias=False, name="reduction")(
            joined
        )


class SwinTransformer(CheckedModule):
    """Classifier: images (b, *img_size, in_chans) -> (logits, aux).

    `aux`: "losses" {}. Any image of at least `patch_size` pixels a side will do; what
    does not fill a patch is cut off.

    Raises: UserError for arguments that do not fit together, ValueError for images that
    do not fit the arguments.
    """

    img_size: SideOrSize = 224
    patch_size: PatchSize = 4
    in_chans: Channels = 3
    num_classes: Classes = 1000
    embed_dim: Annotated[
        Width, "channels of a place at the first stage; they double from stage to stage"
    ] = 96
    depths: StageDepths = (2, 2, 6, 2)
    num_heads: Annotated[
        tuple[int, ...], SIZE, "attention heads of a block, for each stage"
    ] = (3, 6, 12, 24)
    window_size: Annotated[
        int | tuple[int, int], SIZE, "places a side of a window, or (down, right)"
    ] = 7
    mlp_ratio: MlpRatio = 4.0
    qkv_bias: Annotated[bool, "a bias in the layer of queries, keys and values"] = True
    drop_rate: HeadDropout = 0.0
    proj_drop_rate: Dropout = 0.0
    attn_drop_rate: AttentionDropout = 0.0
    drop_path_rate: DropPath = 0.1
    dtype: DType = "float32"

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        stages = len(self.depths)
        small = min(self.image_size) < self.patch_size
        return [
            (
                not stages or stages != len(self.num_heads),
                "depths and num_heads must be of as many stages, one or more",
            ),
            (
                any(
                    self.embed_dim * 2**stage % heads
                    for stage, heads in enumerate(self.num_heads)
                ),
                "the channels of each stage, embed_dim doubled stage by stage, "
                "must divide by its num_heads",
            ),
            (small, f"img_size must be at least patch_size, {self.patch_size}"),
        ]

    @property
    def image_size(self) -> Size:
        """Return (height, width) of the images."""
        return patch_grid.pair(self.img_size)

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        return {
            contract.HEAD: ("head/**",),
            contract.INPUT: ("patch_embed/kernel",),
        }

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""
        return [
            whole("patch_embed", "patch_norm"),
            *number_stages(
                "layers", self.depths, lambda stage: whole(f"downsample_{stage}")
            ),
            whole("norm", "head"),
        ]

    def unseen_pixels(self) -> tuple[int, int]:
        """Return the rows and columns that fill no patch, see `contract.Crops`."""
        side = self.patch_size
        return patch_grid.left_over(self.image_size, side, (side, side))

    def places(self) -> dict[str, Places]:
        """Return the layout of its tables, as `contract.KnowsPlaces` says.

        Their places are the offsets from one place of a window to another.
        """
        found = {}
        for (stage, index), (size, _) in self._windows().items():
            rows, columns = (2 * side - 1 for side in size)
            path = f"params/layers_{stage}_blocks_{index}/attn/{POSITION_TABLE}"
            found[path] = Places(rows, columns, before=0, method="bicubic")
        return found

    def example_inputs(self, batch_size: int) -> tuple[jax.Array, ...]:
        """Return zeros of the shapes that the model takes."""
        return (jnp.zeros((batch_size, *self.image_size, self.in_chans)),)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, Aux]:
        """Compute; see the class."""
        layers.check_images(images, (*self.image_size, self.in_chans))
        dtype = jnp.dtype(self.dtype)
        maps = self._embed(images)  # (b, h, w, c)
        rates = iter(np.linspace(0, self.drop_path_rate, sum(self.depths)).tolist())
        windows = self._windows()
        for stage, depth in enumerate(self.depths):
            if stage:
                maps = PatchMerging(dtype, name=f"downsample_{stage}")(maps)
            for index in range(depth):
                size, shift = windows[stage, index]
                maps = SwinBlock(
                    self.num_heads[stage],
                    size,
                    shift,
                    self.mlp_ratio,
                    self.qkv_bias,
                    self.proj_drop_rate,
                    self.attn_drop_rate,
                    next(rates),
                    dtype,
                    name=f"layers_{stage}_blocks_{index}",
                )(maps, train)
        maps = layers.LayerNorm(dtype=dtype, name="norm")(maps)
        features = maps.astype(jnp.float32).mean((1, 2))  # (b, c)
        features = layers.Dropout(self.drop_rate, deterministic=not train)(features)
        head = Linear(self.num_classes, dtype=dtype, exact=True, name="head")
        return head(features), {"losses": {}}

    def _embed(self, images: jax.Array) -> jax.Array:
        """Turn images into normalised patches: (b, h, w, c)."""
        dtype, side = jnp.dtype(self.dtype), self.patch_size
        tokens = layers.PatchEmbedding(side, self.embed_dim, dtype, name="patch_embed")
        rows, columns = patch_grid.grid_of(self.image_size, side, (side, side))
        maps = tokens(images).reshape(-1, rows, columns, self.embed_dim)
        return layers.LayerNorm(dtype=dtype, name="patch_norm")(maps)

    def _windows(self) -> dict[tuple[int, int], tuple[Size, Size]]:
        """Return window and shift of every (stage, block)."""
        found = {}
        side = self.patch_size
        map_size = patch_grid.grid_of(self.image_size, side, (side, side))
        for stage, depth in enumerate(self.depths):
            for index in range(depth):
                window = self._window(map_size, shifted=index % 2 == 1)
                found[stage, index] = window
            map_size = -(-map_size[0] // 2), -(-map_size[1] // 2)
        return found

    def _window(self, map_size: Size, shifted: bool) -> tuple[Size, Size]:
        """Return window and shift on a map: see the module for what small ones get."""
        sides = patch_grid.pair(self.window_size)
        both = list(zip(map_size, sides, strict=True))
        rows, columns = (min(places, side) for places, side in both)
        down, right = (
            side // 2 if shifted and places > side else 0 for places, side in both
        )
        return (rows, columns), (down, right)
