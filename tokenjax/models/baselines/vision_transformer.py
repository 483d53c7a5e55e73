"""The vision transformer of ImageNet: a class token, pre-norm blocks, a classifier.

    tokens = norm(blocks([class; patches] + positions))                   `CameraViT`
    logits = head(tokens[0])

Axes: batch b, tokens n (class token first, then patches row by row), dim c.

Raises: UserError for arguments that do not fit together, ValueError for images that do
not fit the arguments.

Source: Dosovitskiy et al. 2021 (arXiv 2010.11929); keys, arguments and defaults are
those of timm 1.0.31, `timm/models/vision_transformer.py`, VisionTransformer, with its
class token; `norm_eps` stands for its `norm_layer`, `activation` for its `act_layer`.
What does not fill a patch is cut off, as there. Ours: `dtype`, `remat`.

The attention is the encoder block's: on CPU at 224 and batch 1 or 8 no other layout,
nor `jax.nn.dot_product_attention`, was faster (7.0 ms a block's attention, batch 1,
width 768; 7.7 and 10.4).
"""

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import DType
from tokenjax.models import contract, reduction
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
    PatchSize,
    Remat,
    SideOrSize,
    Width,
)
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.encoder import normal_init
from tokenjax.models.layers import Aux, Dropout, Linear
from tokenjax.models.parameter_layers import number_blocks, whole
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import MayLearnToPrune, ReductionName
from tokenjax.models.reduction.reducer import Reducer
from tokenjax.models.registry import Presets

PRESETS: Presets = {
    "vit_tiny_patch16": {"embed_dim": 192, "num_heads": 3},
    "vit_small_patch16": {"embed_dim": 384, "num_heads": 6},
    "vit_base_patch16": {},
}


class ImageNetViT(MayLearnToPrune):
    """Classifier: images (b, *img_size, in_chans) -> (logits (b, num_classes), aux).

    `aux`: "tokens" (b, n, c), what `norm` gives; "losses" and "reduction", what the
    reduction says. In training dropout, of
    `drop_rate` before the head and of `attn_drop_rate` of the attention weights, and
    stochastic depth, of rates 0 to `drop_path_rate` from first to last block, draw from
    the rng "dropout".
    """

    img_size: SideOrSize = 224
    patch_size: PatchSize = 16
    in_chans: Channels = 3
    num_classes: Classes = 1000
    embed_dim: Width = 768
    depth: Depth = 12
    num_heads: Heads = 12
    mlp_ratio: MlpRatio = 4.0
    qkv_bias: Annotated[bool, "a bias in the layer of queries, keys and values"] = True
    drop_rate: HeadDropout = 0.0
    attn_drop_rate: AttentionDropout = 0.0
    drop_path_rate: DropPath = 0.0
    norm_eps: Epsilon = 1e-6
    activation: ActivationName = "gelu"
    dtype: DType = "float32"
    remat: Remat = False
    reduction: ReductionName = None

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the encoder finds wrong; it is made of the same arguments."""
        return self.encoder().problems()

    def encoder(self) -> CameraViT:
        """Return what computes the tokens, its parameters being ours.

        Raises: UserError for arguments that do not fit together.
        """
        return CameraViT(
            img_size=self.img_size,
            patch_size=self.patch_size,
            stride_size=self.patch_size,
            in_chans=self.in_chans,
            embed_dim=self.embed_dim,
            depth=self.depth,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            qkv_bias=self.qkv_bias,
            attn_drop_rate=self.attn_drop_rate,
            drop_path_rate=self.drop_path_rate,
            norm_eps=self.norm_eps,
            activation=self.activation,
            dtype=self.dtype,
            remat=self.remat,
            reduction=self.reduction,
            parent=None,
        )

    def written_reduction(self) -> Reducer | None:
        """Return how tokens are reduced, if they are."""
        return reduction.build(self.reduction)

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        return {
            contract.HEAD: ("head/**",),
            contract.INPUT: ("encoder/patch_embed/kernel",),
            **reduction.predictor_group(
                self.written_reduction(), self.encoder().facts(), "encoder/"
            ),
        }

    def kept_shares(self) -> dict[str, float]:
        """Return what its reduction keeps; see `contract.KeepsShares`."""
        facts = self.encoder().facts()
        return reduction.kept_shares(self.written_reduction(), facts, "encoder/")

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""
        parts = ("encoder/cls_token", "encoder/pos_embed")
        return [
            (*whole("encoder/patch_embed"), *parts),
            *number_blocks("encoder/blocks", self.depth),
            (*whole("encoder/norm", "head"), "encoder/reduction_*/**"),
        ]

    def unseen_pixels(self) -> tuple[int, int]:
        """Return the rows and columns that fill no patch, see `contract.Crops`."""
        return self.encoder().unseen_pixels()

    def places(self) -> dict[str, Places]:
        """Return the layout of its positions, as `contract.KnowsPlaces` says."""
        places = Places(*self.encoder().grid, method="bicubic_antialias")
        return {"params/encoder/pos_embed": places}

    def example_inputs(self, batch_size: int) -> tuple[jax.Array, ...]:
        """Return zeros of the shape that the model takes."""
        return self.encoder().example_inputs(batch_size)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, Aux]:
        """Compute; see the class."""
        encoder = self.encoder().copy(name="encoder")
        tokens, aux = encoder(images, train=train)  # (b, n, c)
        class_token = Dropout(self.drop_rate, deterministic=not train)(tokens[:, 0])
        head = Linear(
            self.num_classes,
            kernel_init=normal_init,
            bias_init=nn.initializers.zeros,
            dtype=jnp.dtype(self.dtype),
            name="head",
        )
        logits = head(class_token).astype(jnp.float32)
        seen = {key: aux[key] for key in ("losses", "reduction")}
        return logits, {"tokens": tokens, **seen}
