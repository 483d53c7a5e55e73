"""The vision transformer of ImageNet: a class token, pre-norm blocks, a classifier.

    tokens = norm(blocks([class; patches] + positions))                  `ViTEncoder`
    logits = head(tokens[0])                                    global_pool "token"
    logits = (head(tokens[0]) + head_dist(tokens[1])) / 2       distilled
    logits = head(fc_norm(mean of the patch tokens))            global_pool "avg"

The mean weighs a token by how many patches it stands for, where a reduction merged
some, and leaves out what a reduction only marked as dropped. Two heads are averaged in
training as well, as timm does unless it distils.

Axes: batch b, tokens n (class token first, then patches row by row), dim c.

Raises: UserError for arguments that do not fit together, ValueError for images that do
not fit the arguments.

Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), Touvron et al. 2021 (2012.12877, the
distillation token), Darcet et al. 2023 (2309.16588, registers); keys, arguments and
defaults are those of timm 1.0.31, `timm/models/vision_transformer.py`,
VisionTransformer. What does not fill a patch is cut off, as there.

The attention is the encoder block's: on CPU at 224 and batch 1 or 8 no other layout,
nor `jax.nn.dot_product_attention`, was faster (7.0 ms a block's attention, batch 1,
width 768; 7.7 and 10.4).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import describe
from tokenjax.models import contract, reduction
from tokenjax.models.baselines.vit_arguments import ViTArguments
from tokenjax.models.baselines.vit_encoder import ViTEncoder
from tokenjax.models.encoder import normal_init
from tokenjax.models.layers import Aux, Dropout, Linear
from tokenjax.models.parameter_layers import number_blocks, whole
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import MayLearnToPrune, TokenSet
from tokenjax.models.registry import Presets

PRESETS: Presets = {
    "vit_tiny_patch16": {"embed_dim": 192, "num_heads": 3},
    "vit_small_patch16": {"embed_dim": 384, "num_heads": 6},
    "vit_base_patch16": {},
}


class ImageNetViT(ViTArguments, MayLearnToPrune):
    """Classifier: images (b, *img_size, in_chans) -> (logits (b, num_classes), aux).

    `aux`: "tokens" (b, n, c), what `norm` gives, or without one the last block;
    "losses" and "reduction", what the reduction says. In training dropout, of
    `drop_rate` before the head and of `attn_drop_rate` of the attention weights, the
    share `patch_drop_rate` of the patches that is left out, and stochastic depth, of
    rates 0 to `drop_path_rate` from first to last block, draw from the rng "dropout".
    """

    def encoder(self) -> ViTEncoder:
        """Return what computes the tokens, its parameters being ours."""
        names = describe(ViTArguments)
        return ViTEncoder(**{name: getattr(self, name) for name in names}, parent=None)

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        heads = ("head/**", "head_dist/**") if self.distilled else ("head/**",)
        return {
            contract.HEAD: heads,
            contract.INPUT: ("encoder/patch_embed/kernel",),
            **reduction.predictor_group(
                self.written_reduction(), self.facts(), "encoder/"
            ),
        }

    def kept_shares(self) -> dict[str, float]:
        """Return what its reduction keeps; see `contract.KeepsShares`."""
        facts = self.encoder().facts()
        return reduction.kept_shares(self.written_reduction(), facts, "encoder/")

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""
        names = ("cls_token", "dist_token", "reg_token", "pos_embed")
        parts = [f"encoder/{name}" for name in names]
        return [
            (*whole("encoder/patch_embed"), *parts),
            *number_blocks("encoder/blocks", self.depth),
            (
                *whole("encoder/norm", "fc_norm", "head", "head_dist"),
                "encoder/reduction_*/**",
            ),
        ]

    def places(self) -> dict[str, Places]:
        """Return the layout of its positions, as `contract.KnowsPlaces` says."""
        return {"params/encoder/pos_embed": self.positions()}

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, Aux]:
        """Compute; see the class."""
        token_set, aux = self.encoder().copy(name="encoder")(images, train=train)
        drop = functools.partial(Dropout, self.drop_rate, deterministic=not train)
        logits = self._head("head")(drop()(self._pool(token_set)))
        if self.distilled:
            distilled = self._head("head_dist")(drop()(token_set.tokens[:, 1]))
            logits = (logits + distilled) / 2
        return logits, {"tokens": token_set.tokens, **aux}

    def _pool(self, token_set: TokenSet) -> jax.Array:
        """Return what the classifier reads, (b, c)."""
        if self.global_pool == "token":
            pooled = token_set.tokens[:, 0]
        else:
            pooled = token_set.mean_patch()
        if not self.norms_pooled:
            return pooled
        dtype = jnp.dtype(self.dtype)
        return nn.LayerNorm(epsilon=self.norm_eps, dtype=dtype, name="fc_norm")(pooled)

    def _head(self, name: str) -> Linear:
        """Return a classifier."""
        return Linear(
            self.num_classes,
            kernel_init=normal_init,
            bias_init=nn.initializers.zeros,
            dtype=jnp.dtype(self.dtype),
            exact=True,
            name=name,
        )
