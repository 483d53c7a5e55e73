"""The CIFAR-ViT family: patches, a class token, pre-norm blocks, a head.

    tokens = [class token; patches] + pos_embed
    tokens += attention(LayerNorm(tokens));  tokens += MLP(LayerNorm(tokens))  per block
    tokens = reducer(tokens)                       where a method of reduction acts
    logits = head(LayerNorm(tokens)[0])

A model of the family says what its attention is and how tokens are reduced.

Source: starkplus/CIFAR-ViT (arguments and defaults are its own).
Ours: `dtype`, `remat`, `return_attention`, and `initialization="xavier"`, which learns
faster where the width is small: 0.02 is meant for widths of many hundreds; and
`patch_dropout`, the share of patches left out at random in training: that share of time
is saved, and a network overfits less (Liu et al. 2022, arXiv 2208.07220).

Axes: batch b, heads h, tokens n (class token first), patches p, dim c, head_dim d.
"""

import functools
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import NOT_OF_WEIGHTS, DType
from tokenjax.models import contract, layers
from tokenjax.models.argument_types import (
    Channels,
    Classes,
    Depth,
    Dropout,
    Heads,
    MlpRatio,
    PatchDropout,
    PatchSize,
    Remat,
    ReturnAttention,
    Side,
    Width,
)
from tokenjax.models.attention import SelfAttention
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.encoder import Block, Encoded, encode, normal_init
from tokenjax.models.layers import Aux, Initializer, ModuleMaker
from tokenjax.models.parameter_layers import number_blocks, whole
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import EncoderFacts, TokenSet
from tokenjax.models.reduction.reducer import Method
from tokenjax.models.reduction.token_set import leave_out
from tokenjax.ops import soft_topk


class Transformer(CheckedModule):
    """Base of the family; images (b, img_size, img_size, in_channels) -> (logits, aux).

    `aux` of every member, the same keys in every mode:
      "attention": per block (b, h, n, n), after dropout, so not normalised in training;
      "class_attention": (depth, b, p), the class token's to each patch, mean over
        heads; 0 for a patch that is not there;
      "effective_keys": (depth, b), exp of the entropy of the attention, mean over heads
        and queries;
      "tokens": (b, n, c), the last ones, normalised, as the head gets them;
      "reduction": per block what became of the tokens, see `reduction.account`;
      "losses": {}, or those of the reduction.
    The first three are None with `return_attention` off. jit computes what is used.

    Raises: UserError for arguments that do not fit together, ValueError for images that
    do not fit the arguments.
    """

    img_size: Side = 32
    patch_size: PatchSize = 4
    in_channels: Channels = 3
    num_classes: Classes = 10
    embed_dim: Width = 512
    depth: Depth = 6
    num_heads: Heads = 8
    mlp_ratio: MlpRatio = 4.0
    dropout: Dropout = 0.1
    dtype: DType = "float32"
    initialization: Annotated[
        Literal["recorded", "xavier"],
        NOT_OF_WEIGHTS,
        "of linear layers: the original's, or one that learns faster at small widths",
    ] = "recorded"
    patch_dropout: PatchDropout = 0.0
    remat: Remat = False
    return_attention: ReturnAttention = True

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        return [
            (
                bool(self.img_size % self.patch_size),
                "img_size must divide by patch_size",
            ),
            (
                bool(self.embed_dim % self.num_heads),
                "embed_dim must divide by num_heads",
            ),
        ]

    @property
    def num_patches(self) -> int:
        """Return the number of patches of an image."""
        return (self.img_size // self.patch_size) ** 2

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Return zeros of the shape that the model takes."""
        shape = (batch_size, self.img_size, self.img_size, self.in_channels)
        return (jnp.zeros(shape, jnp.float32),)

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        return {
            contract.HEAD: ("head/**",),
            contract.INPUT: ("patch_embed/kernel",),
        }

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""
        return [
            (*whole("patch_embed"), "cls_token", "pos_embed"),
            *number_blocks("blocks", self.depth),
            (*whole("norm", "head"), "reduction_*/**"),
        ]

    def places(self) -> dict[str, Places]:
        """Return the layout of its positions, as `contract.KnowsPlaces` says."""
        side = self.img_size // self.patch_size
        places = Places(side, side, method="bicubic_antialias")
        return {"params/pos_embed": places}

    @nn.nowrap
    def with_attention(self) -> contract.Model:
        """Return the network with what figures show in `aux`."""
        return self.clone(return_attention=True)

    def attention(self) -> ModuleMaker:
        """Return what makes a block's attention, as `Block` says: softmax's."""
        return self.softmax_attention(self.dropout)

    def softmax_attention(self, dropout: float) -> ModuleMaker:
        """Return what makes a softmax attention that drops weights in training."""
        linear = self.linear()
        return functools.partial(
            SelfAttention,
            num_heads=self.num_heads,
            in_proj=linear,
            out_proj=linear,
            dropout=dropout,
        )

    def facts(self) -> EncoderFacts:
        """Return what a method of reduction may know."""
        return EncoderFacts(
            depth=self.depth,
            patches=self.num_patches,
            protected=1,
            class_token=True,
            distilled=False,
            width=self.embed_dim,
            num_heads=self.num_heads,
            classes=self.num_classes,
            patch_inputs=self.patch_size**2 * self.in_channels,
            hidden=int(self.embed_dim * self.mlp_ratio),
            dtype=self.dtype,
        )

    def linear(self) -> ModuleMaker:
        """Return what makes a linear layer, with the initialisation asked for."""
        kernel_init, bias_init = self.recorded_init()
        if self.initialization == "xavier":
            kernel_init = nn.initializers.xavier_uniform()
            bias_init = nn.initializers.zeros
        return functools.partial(
            layers.Linear,
            kernel_init=kernel_init,
            bias_init=bias_init,
            dtype=jnp.dtype(self.dtype),
        )

    def recorded_init(self) -> tuple[Initializer, Initializer | None]:
        """Return the original's initialisers of a linear layer's kernel and bias."""
        return normal_init, nn.initializers.zeros

    def method(self) -> Method | None:
        """Return how tokens are reduced, if they are."""
        return None

    def patches_left_out(self) -> float:
        """Return the share left out at random in training."""
        return self.patch_dropout

    def more_aux(self, encoded: Encoded) -> Aux:
        """Return what a member adds to `aux`."""
        del encoded
        return {}

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple:
        """Compute; see the class."""
        layers.check_images(images, (self.img_size, self.img_size, self.in_channels))
        dtype = jnp.dtype(self.dtype)
        block = self._block()
        encoded = encode(
            self._embed(images, train),
            train,
            [block] * self.depth,
            self.remat,
            self.method(),
            self.facts(),
        )
        norm = layers.LayerNorm(dtype=dtype, name="norm")
        tokens = norm(encoded.token_set.tokens)
        logits = self.linear()(self.num_classes, exact=True, name="head")(tokens[:, 0])
        aux = {
            **self._attention_aux(encoded),
            "tokens": tokens.astype(jnp.float32),
            "reduction": encoded.account(),
            "losses": encoded.losses(),
            **self.more_aux(encoded),
        }
        return logits, aux

    def _block(self) -> ModuleMaker:
        """Return what makes a block."""
        linear = self.linear()
        mlp = functools.partial(
            layers.MLP, int(self.embed_dim * self.mlp_ratio), self.dropout, linear
        )
        return functools.partial(
            Block,
            attention=self.attention(),
            mlp=mlp,
            norm=functools.partial(layers.LayerNorm, dtype=jnp.dtype(self.dtype)),
            dropout=self.dropout,
            wants=("attention",) if self.return_attention else (),
        )

    def _embed(self, images: jax.Array, train: bool) -> TokenSet:
        """Turn images into tokens with their positions."""
        dtype = jnp.dtype(self.dtype)
        patches = layers.PatchEmbedding(
            self.patch_size, self.embed_dim, dtype=dtype, name="patch_embed"
        )(images).astype(layers.STREAM)  # (b, p, c)
        batch, count, dim = patches.shape
        class_token = self.param("cls_token", normal_init, (1, 1, dim))
        class_token = jnp.broadcast_to(class_token, (batch, 1, dim))
        position = self.param("pos_embed", normal_init, (1, count + 1, dim))
        tokens = jnp.concatenate([class_token, patches], axis=1)  # (b, n, c)
        tokens += position
        tokens = layers.Dropout(self.dropout, deterministic=not train)(tokens)
        token_set = TokenSet.start(tokens, protected=1)
        share = self.patches_left_out()
        if not train or not share:
            return token_set
        return leave_out(token_set, self.make_rng("dropout"), share)

    def _attention_aux(self, encoded: Encoded) -> Aux:
        if not self.return_attention:
            keys = ("attention", "class_attention", "effective_keys")
            return dict.fromkeys(keys)
        attention = tuple(seen.attention for seen in encoded.seen)
        effective = [soft_topk.effective_keys(maps).mean((1, 2)) for maps in attention]
        class_attention = [
            _by_patch(maps[:, :, 0].mean(1), token_set)
            for maps, token_set in zip(attention, encoded.attended, strict=True)
        ]
        return {
            "attention": attention,
            "class_attention": jnp.stack(class_attention),  # (depth, b, p)
            "effective_keys": jnp.stack(effective),  # (depth, b)
        }


def _by_patch(values: jax.Array, token_set: TokenSet) -> jax.Array:
    """Share what each token has (b, n) among the patches it stands for: (b, p)."""
    if token_set.sizes is not None:
        values /= token_set.sizes
    return token_set.restore(values[..., None])[..., 0]
