"""Arguments of timm's VisionTransformer, and what follows from them alone.

Names and defaults are those of timm 1.0.31; `distilled` stands for its class of models
with a distillation token, `norm_eps` for its `norm_layer`, `activation` for its
`act_layer`. Ours: `dtype`, `remat`, `reduction`.
"""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from tokenjax.arguments import COUNT, NOT_NEGATIVE, DType
from tokenjax.models import patch_grid
from tokenjax.models.argument_types import (
    ActivationName,
    AttentionDropout,
    Channels,
    Classes,
    Depth,
    DropPath,
    Epsilon,
    HeadDropout,
    Heads,
    MlpRatio,
    PatchDropout,
    PatchSize,
    Remat,
    SideOrSize,
    Width,
)
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import EncoderFacts, TakesReduction

GlobalPool = Annotated[
    Literal["token", "avg"],
    "what the classifier reads: the class token, or the mean of the patches",
]


class ViTArguments(TakesReduction):
    """Base of a classifier and of its encoder, which have the same arguments."""

    img_size: SideOrSize = 224
    patch_size: PatchSize = 16
    in_chans: Channels = 3
    num_classes: Classes = 1000
    global_pool: GlobalPool = "token"
    embed_dim: Width = 768
    depth: Depth = 12
    num_heads: Heads = 12
    mlp_ratio: MlpRatio = 4.0
    qkv_bias: Annotated[bool, "a bias in the layer of queries, keys and values"] = True
    qk_norm: Annotated[bool, "LayerNorm of each head's queries and keys"] = False
    init_values: Annotated[
        float | None, NOT_NEGATIVE, "what layer scales start at; None: there are none"
    ] = None
    class_token: Annotated[bool, "a class token in front of the patches"] = True
    no_embed_class: Annotated[bool, "positions for the patches alone"] = False
    reg_tokens: Annotated[int, COUNT, "register tokens, behind the class token"] = 0
    fc_norm: Annotated[
        bool | None, "norm what is pooled, not the tokens; None: if global_pool is avg"
    ] = None
    distilled: Annotated[
        bool, "a distillation token with a classifier of its own (DeiT)"
    ] = False
    drop_rate: HeadDropout = 0.0
    attn_drop_rate: AttentionDropout = 0.0
    drop_path_rate: DropPath = 0.0
    patch_drop_rate: PatchDropout = 0.0
    norm_eps: Epsilon = 1e-6
    activation: ActivationName = "gelu"
    dtype: DType = "float32"
    remat: Remat = False

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        by_token = self.global_pool == "token"
        both = self.class_token and by_token and not self.fc_norm
        return [
            (
                bool(self.embed_dim % self.num_heads),
                "embed_dim must divide by num_heads",
            ),
            (
                min(self.image_size) < self.patch_size,
                "img_size must be at least patch_size",
            ),
            (
                by_token and not self.class_token,
                "global_pool=token reads the class token, and class_token is off: "
                "global_pool=avg does without",
            ),
            (
                self.distilled and not both,
                "distilled reads the class and the distillation token, so it goes with "
                "class_token, with global_pool=token and without fc_norm",
            ),
        ]

    @property
    def image_size(self) -> tuple[int, int]:
        """Return (height, width) of the images."""
        return patch_grid.pair(self.img_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Return (rows, columns) of patches."""
        stride = patch_grid.pair(self.patch_size)
        return patch_grid.grid_of(self.image_size, self.patch_size, stride)

    @property
    def leading(self) -> int:
        """Return how many tokens are in front of the patches."""
        return self.class_token + self.distilled + self.reg_tokens

    @property
    def norms_pooled(self) -> bool:
        """Return whether the last norm comes after pooling."""
        return self.global_pool == "avg" if self.fc_norm is None else self.fc_norm

    def positions(self) -> Places:
        """Return how its positions are laid out."""
        before = 0 if self.no_embed_class else self.leading
        return Places(*self.grid, before=before, method="bicubic_antialias")

    def facts(self) -> EncoderFacts:
        """Return what a method of reduction may know."""
        rows, columns = self.grid
        return EncoderFacts(
            depth=self.depth,
            patches=rows * columns,
            protected=self.leading,
            class_token=self.class_token,
            distilled=self.distilled,
            width=self.embed_dim,
            num_heads=self.num_heads,
            pool=self.global_pool,
            classes=self.num_classes,
            patch_inputs=self.patch_size**2 * self.in_chans,
            hidden=int(self.embed_dim * self.mlp_ratio),
            dtype=self.dtype,
        )

    def unseen_pixels(self) -> tuple[int, int]:
        """Return the rows and columns that fill no patch, see `contract.Crops`."""
        stride = patch_grid.pair(self.patch_size)
        return patch_grid.left_over(self.image_size, self.patch_size, stride)

    def example_inputs(self, batch_size: int) -> tuple[jax.Array, ...]:
        """Return zeros of the shape that the model takes."""
        shape = (batch_size, *self.image_size, self.in_chans)
        return (jnp.zeros(shape, jnp.float32),)
