"""The CIFAR-ViT family: patches, a class token, pre-norm blocks, a head.

    tokens = [class token; patches] + pos_embed
    tokens += attention(LayerNorm(tokens));  tokens += MLP(LayerNorm(tokens))  per block
    tokens = reducer(tokens)                        after the blocks that have one
    logits = head(LayerNorm(tokens)[0])

A model of the family says what its attention and its reducers are.

Source: starkplus/CIFAR-ViT (arguments and defaults are its own).
Ours: `dtype`, `remat`, `return_attention`, and `initialization="xavier"`, which learns
faster where the width is small: 0.02 is meant for widths of many hundreds; and
`patch_dropout`, the share of patches left out at random in training: that share of time
is saved, and a network overfits less (Liu et al. 2022, arXiv 2208.07220).

Axes: batch b, heads h, tokens n (class token first), patches p, dim c, head_dim d.
"""

import dataclasses
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
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.layers import Aux, Initializer, ModuleMaker
from tokenjax.models.parameter_layers import number_blocks, whole
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import Reduction, TokenSet
from tokenjax.ops import masked_attention, soft_topk, token_selection

normal_init = nn.initializers.normal(0.02)


class Attention(nn.Module):
    """Multi-head softmax attention: (b, n, c) -> (b, n, c), weights (b, h, n, n)."""

    num_heads: int
    dropout: float
    linear: ModuleMaker

    @nn.compact
    def __call__(
        self, tokens: jax.Array, train: bool, visible: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Attend; `visible` (b, n): 1 for tokens to be attended to, None: all."""
        dim = tokens.shape[-1]
        qkv = self.linear(3 * dim, name="qkv")(tokens)
        query, key, value = layers.split_heads(qkv, self.num_heads)  # (b, h, n, d)
        logits = jnp.einsum(
            "bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32
        )
        logits *= query.shape[-1] ** -0.5
        if visible is None:
            weights = jax.nn.softmax(logits, axis=-1)
        else:
            weights = masked_attention.masked_softmax(logits, visible)
        weights = layers.Dropout(self.dropout, deterministic=not train)(weights)
        mixed = layers.merge_heads(weights.astype(value.dtype) @ value)
        return self.linear(dim, name="proj")(mixed), weights


class Block(nn.Module):
    """One pre-norm transformer block."""

    attention: ModuleMaker  # of (linear=, name=)
    hidden_dim: int
    dropout: float
    linear: ModuleMaker
    dtype: DType

    @nn.compact
    def __call__(
        self, tokens: jax.Array, train: bool, visible: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Compute (b, n, c) -> (b, n, c) and the attention weights (b, h, n, n)."""
        norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
        attention = self.attention(linear=self.linear, name="attn")
        mixed, weights = attention(norm(name="norm1")(tokens), train, visible)
        tokens += layers.Dropout(self.dropout, deterministic=not train)(mixed)
        mlp = layers.MLP(self.hidden_dim, self.dropout, linear=self.linear, name="mlp")
        return tokens + mlp(norm(name="norm2")(tokens), train), weights


class Transformer(CheckedModule):
    """Base of the family; images (b, img_size, img_size, in_channels) -> (logits, aux).

    `aux` of every member, the same keys in every mode:
      "attention": per block (b, h, n, n), after dropout, so not normalised in training;
      "class_attention": (depth, b, p), the class token's to each patch, mean over
        heads; 0 for a patch that is not there;
      "effective_keys": (depth, b), exp of the entropy of the attention, mean over heads
        and queries;
      "tokens": (b, n, c), the last ones, normalised, as the head gets them;
      "losses": {}.
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
            whole("norm", "head"),
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
        """Return what makes a block's attention of `linear` and `name`: softmax's."""
        return functools.partial(
            Attention, num_heads=self.num_heads, dropout=self.dropout
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

    def reducer(self, index: int) -> nn.Module | None:
        """Return what reduces the tokens after block `index`, if anything."""
        del index
        return None

    def patches_left_out(self) -> float:
        """Return the share left out at random in training."""
        return self.patch_dropout

    def more_aux(self, reductions: list[Reduction], batch: int) -> Aux:
        """Return what a member adds to `aux`."""
        del reductions, batch
        return {}

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple:
        """Compute; see the class."""
        layers.check_images(images, (self.img_size, self.img_size, self.in_channels))
        dtype = jnp.dtype(self.dtype)
        state = self._embed(images, train)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        attention, sources, reductions = [], [], []
        for index in range(self.depth):
            tokens, weights = block(
                attention=self.attention(),
                hidden_dim=int(self.embed_dim * self.mlp_ratio),
                dropout=self.dropout,
                linear=self.linear(),
                dtype=dtype,
                name=f"blocks_{index}",
            )(state.tokens, train, state.visible())
            attention.append(weights)
            sources.append(state.source)
            state = dataclasses.replace(state, tokens=tokens)
            reducer = self.reducer(index)
            if reducer is not None:
                state, reduction = reducer(state, train)
                reductions.append(reduction)

        tokens = layers.LayerNorm(dtype=dtype, name="norm")(state.tokens)
        logits = self.linear()(self.num_classes, name="head")(tokens[:, 0])
        aux = {
            **self._attention_aux(attention, sources),
            "tokens": tokens.astype(jnp.float32),
            "losses": {},
            **self.more_aux(reductions, len(images)),
        }
        return logits.astype(jnp.float32), aux

    def _embed(self, images: jax.Array, train: bool) -> TokenSet:
        """Turn images into tokens with their positions."""
        dtype = jnp.dtype(self.dtype)
        patches = layers.PatchEmbedding(
            self.patch_size, self.embed_dim, dtype=dtype, name="patch_embed"
        )(images)  # (b, p, c)
        batch, count, dim = patches.shape
        class_token = self.param("cls_token", normal_init, (1, 1, dim))
        class_token = jnp.broadcast_to(class_token, (batch, 1, dim)).astype(dtype)
        position = self.param("pos_embed", normal_init, (1, count + 1, dim))
        tokens = jnp.concatenate([class_token, patches], axis=1)  # (b, n, c)
        tokens += position.astype(dtype)
        tokens = layers.Dropout(self.dropout, deterministic=not train)(tokens)
        source = jnp.broadcast_to(jnp.arange(count), (batch, count))
        token_set = TokenSet(tokens, source)
        share = self.patches_left_out()
        if not train or not share:
            return token_set
        key = self.make_rng("dropout")
        return token_set.gather(token_selection.draw_indices(key, batch, count, share))

    def _attention_aux(
        self, attention: list[jax.Array], sources: list[jax.Array]
    ) -> Aux:
        if not self.return_attention:
            keys = ("attention", "class_attention", "effective_keys")
            return dict.fromkeys(keys)
        effective = [soft_topk.effective_keys(maps).mean((1, 2)) for maps in attention]
        class_attention = [
            token_selection.scatter_tokens(
                maps[:, :, 0, 1:].mean(1), source, self.num_patches
            )
            for maps, source in zip(attention, sources, strict=True)
        ]
        return {
            "attention": tuple(attention),
            "class_attention": jnp.stack(class_attention),  # (depth, b, p)
            "effective_keys": jnp.stack(effective),  # (depth, b)
        }
