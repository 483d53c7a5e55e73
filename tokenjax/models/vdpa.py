"""VDPA: two attention paths mixed by a variance-driven gate, pooled by neighbourhoods.

Per block, on tokens normalised by a LayerNorm:

    local    STK   A v, A from one row of logits q k^T / sqrt(D)      (`ops.soft_topk`)
    global   LGA   softmax(q k_g^T / sqrt(D)) v_g, k_g and v_g averages over all tokens
                   by learned position weights
    gate     VDFC  alpha = 0.31 + 0.58 sigmoid(w s + b), s the variance of q over
                   tokens, averaged over (H, D)
    out      proj(alpha STK + (1 - alpha) LGA)

and after the last block adaptive local pooling (`ops.neighborhood`) makes the class
token.

Source: mu1sd/VDPA, `vdpa.py`. Two things in it cannot matter and cost nothing here:
with one global token LGA's softmax runs over one entry, so v_g reaches every token
whatever q and k_g are; and the last entry of `pos_weight` is never read. The defaults
compute what the original computes. Ours: `stk="soft_topk"`, `global_tokens` > 1,
`alp_border="renormalise"`, `dtype`, `remat`, `return_attention`.

Axes: batch b, heads h, tokens n (queries q, keys k), head_dim d, global tokens m.
"""

import functools
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import AT_INFERENCE, SIZE, DType
from tokenjax.models import contract, layers, patch_grid
from tokenjax.models.argument_types import (
    PART,
    POSITIVE,
    AttentionDropout,
    Channels,
    Classes,
    Depth,
    Dropout,
    Heads,
    MlpRatio,
    PatchSize,
    Remat,
    ReturnAttention,
    Side,
    Width,
)
from tokenjax.models.attention import Attended
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.encoder import Block, encode
from tokenjax.models.parameter_layers import number_blocks, whole
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import TokenSet
from tokenjax.ops import attention, modulated_attention, neighborhood, soft_topk

ALPHA_RANGE = (0.31, 0.89)
LocalAttention = Literal["recorded", "soft_topk"]
TILED_FROM = 512  # tokens; fewer fit the cache, and plain products are as quick


class LearnableGlobalAttention(nn.Module):
    """Every token attends to `global_tokens` learned averages of all tokens."""

    global_tokens: int
    dropout: float

    @nn.compact
    def __call__(
        self, query: jax.Array, key: jax.Array, value: jax.Array, train: bool
    ) -> jax.Array:
        """Attend: (b, h, n, d) thrice -> (b, h, n, d), or (b, h, 1, d) if all agree."""
        _, heads, num_tokens, head_dim = query.shape
        shape = (1, heads, num_tokens + 1, self.global_tokens)  # the recorded shape
        position = self.param("pos_weight", nn.initializers.normal(0.02), shape)
        weights = jax.nn.softmax(position[0, :, :num_tokens], axis=1)  # (h, n, m)
        weights = weights.astype(value.dtype)
        global_value = jnp.einsum("hnm,bhnd->bhmd", weights, value)
        dropped = train and self.dropout > 0
        if self.global_tokens == 1 and not dropped:
            return global_value  # (b, h, 1, d)
        if self.global_tokens == 1:
            attention = jnp.ones((*query.shape[:3], 1), value.dtype)
        else:
            global_key = jnp.einsum("hnm,bhnd->bhmd", weights, key)
            logits = jnp.einsum("bhnd,bhmd->bhnm", query, global_key)
            logits = logits.astype(jnp.float32) * head_dim**-0.5
            attention = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
        attention = layers.Dropout(self.dropout, deterministic=not train)(attention)
        return attention @ global_value


class VarianceGate(nn.Module):
    """VDFC: the share of the local path, from how much queries vary over tokens."""

    @nn.compact
    def __call__(self, query: jax.Array) -> jax.Array:
        """Gate: (b, h, n, d) -> (b,), each within ALPHA_RANGE."""
        weight = self.param("w", nn.initializers.constant(5.0), ())
        bias = self.param("b", nn.initializers.constant(-2.5), ())
        variance = jnp.var(query.astype(jnp.float32), axis=2)  # (b, h, d), biased
        gate = jax.nn.sigmoid(weight * jnp.mean(variance, axis=(1, 2)) + bias)
        low, high = ALPHA_RANGE
        return low + (high - low) * gate


class VDPABlock(Block):
    """The block of every transformer with VDPA's attention; see the module."""

    num_heads: int = 1
    attn_drop: float = 0.0
    stk: LocalAttention = "recorded"
    stk_temperature: float = 0.5
    topk_ratio: float = 0.25
    global_tokens: int = 1
    return_attention: bool = False
    dtype: DType = jnp.float32

    def attend(self, norm: nn.Module, token_set: TokenSet, train: bool) -> Attended:
        """Attend; what there is to see is a dict."""
        linear = functools.partial(layers.Linear, dtype=self.dtype)
        tokens = token_set.tokens
        dim = tokens.shape[-1]
        qkv = linear(3 * dim, name="qkv")(norm(tokens))
        query, key, value = layers.split_heads(qkv, self.num_heads)  # (b, h, n, d)

        scale = query.shape[-1] ** -0.5
        logits = attention.attention_logits(query, key, scale)
        weights = self._local_weights(logits)
        local = self._local(query, key, value, weights, train)
        lga = LearnableGlobalAttention(self.global_tokens, self.attn_drop, name="lga")
        everywhere = lga(query, key, value, train)
        alpha = VarianceGate(name="vdfc")(query)  # (b,)

        share = alpha[:, None, None, None]  # float32, and so is the sum
        mixed = (share * local + (1 - share) * everywhere).astype(self.dtype)
        projected = linear(dim, name="proj")(layers.merge_heads(mixed))
        return Attended(projected, {"alpha": alpha, **self._attention(weights)})

    def _local(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        weights: jax.Array,
        train: bool,
    ) -> jax.Array:
        """Attend: (b, h, n, d); by tiles no weights are made unless `aux` is read."""
        dropped = train and self.attn_drop > 0
        many = query.shape[2] >= TILED_FROM
        if many and self.stk == "recorded" and not dropped:
            attend = modulated_attention.modulated_attention
            return attend(query, key, value, self.stk_temperature)
        dropout = layers.Dropout(self.attn_drop, deterministic=not train)
        return dropout(weights).astype(self.dtype) @ value

    def _local_weights(self, logits: jax.Array) -> jax.Array:
        if self.stk == "recorded":
            return soft_topk.modulated_softmax(logits, self.stk_temperature)
        k = math.ceil(self.topk_ratio * logits.shape[-1])
        return soft_topk.soft_topk_weights(logits, k, self.stk_temperature)

    def _attention(self, weights: jax.Array) -> dict:
        if not self.return_attention:
            return {"attention": None, "effective_keys": None}
        effective = soft_topk.effective_keys(weights).mean(axis=(1, 2))  # (b,)
        return {"attention": weights, "effective_keys": effective}


class VDPA(CheckedModule):
    """Classifier: images (b, img_size, img_size, in_chans) -> (logits, aux).

    `aux`: "alpha" (depth, b); unless `return_attention` is off also "attention", a
    tuple of (b, h, n, n) per block, "effective_keys" (depth, b), "alp_weights"
    (b, n, 9) and "alp_shares" (b, n) (see `ops.neighborhood`), else None; "losses" {}.
    What the caller does not use, jit does not compute.

    Raises: UserError for arguments that do not fit together, ValueError for images that
    do not fit the arguments.
    """

    img_size: Side = 512
    patch_size: PatchSize = 16
    in_chans: Channels = 3
    num_classes: Classes = 2
    embed_dim: Width = 768
    depth: Depth = 10
    num_heads: Heads = 8
    mlp_ratio: MlpRatio = 4.0
    attn_drop: AttentionDropout = 0.0
    drop: Dropout = 0.0
    k_neighbors: Annotated[
        int, SIZE, "of a token's 3 x 3 neighbours, how many are pooled"
    ] = 9
    alp_temperature: Annotated[
        float,
        POSITIVE,
        AT_INFERENCE,
        "of the pooling's softmax; smaller is sharper",
    ] = 1.0
    stk_temperature: Annotated[
        float, POSITIVE, AT_INFERENCE, "of the local attention; smaller is sharper"
    ] = 0.5
    stk: Annotated[
        LocalAttention, "the local attention: the original's, or a soft choice of keys"
    ] = "recorded"
    topk_ratio: Annotated[
        float, PART, AT_INFERENCE, 'share of the keys that stk="soft_topk" chooses'
    ] = 0.25
    global_tokens: Annotated[
        int, SIZE, "learned averages of all tokens in the global attention"
    ] = 1
    alp_border: Annotated[
        Literal["center", "renormalise"],
        "neighbours outside the image: the token itself instead, or left out",
    ] = "center"
    dtype: DType = "float32"
    remat: Remat = False
    return_attention: ReturnAttention = True

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        return [
            (self.img_size < self.patch_size, "img_size is smaller than patch_size"),
            (
                bool(self.embed_dim % self.num_heads),
                "embed_dim must divide by num_heads",
            ),
        ]

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Return zeros of the shape that the model takes."""
        shape = (batch_size, self.img_size, self.img_size, self.in_chans)
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
            (*whole("patch_embed"), "pos_embed"),
            *number_blocks("blocks", self.depth),
            whole("norm", "head"),
        ]

    def unseen_pixels(self) -> tuple[int, int]:
        """Return the rows and columns that fill no patch, see `contract.Crops`."""
        size, side = (self.img_size, self.img_size), self.patch_size
        return patch_grid.left_over(size, side, (side, side))

    def places(self) -> dict[str, Places]:
        """Return the layout of its positions, as `contract.KnowsPlaces` says."""
        side = self.img_size // self.patch_size
        places = Places(side, side, before=0, method="bicubic_antialias")
        weights = places._replace(after=1)
        return {
            "params/pos_embed": places,
            **{
                f"params/blocks_{index}/lga/pos_weight": weights
                for index in range(self.depth)
            },
        }

    @nn.nowrap
    def with_attention(self) -> contract.Model:
        """Return the network with what figures show in `aux`."""
        return self.clone(return_attention=True)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple:
        layers.check_images(images, (self.img_size, self.img_size, self.in_chans))
        dtype = jnp.dtype(self.dtype)
        tokens = layers.PatchEmbedding(
            self.patch_size, self.embed_dim, dtype=dtype, name="patch_embed"
        )(images).astype(layers.STREAM)  # (b, n, c)
        init = nn.initializers.normal(0.02)
        position = self.param("pos_embed", init, (1, *tokens.shape[1:]))
        tokens += position
        tokens = layers.Dropout(self.drop, deterministic=not train)(tokens)

        linear = functools.partial(layers.Linear, dtype=dtype)
        block = functools.partial(
            VDPABlock,
            mlp=functools.partial(
                layers.MLP, int(self.embed_dim * self.mlp_ratio), self.drop, linear
            ),
            norm=functools.partial(layers.LayerNorm, dtype=dtype),
            dropout=self.drop,
            num_heads=self.num_heads,
            attn_drop=self.attn_drop,
            stk=self.stk,
            stk_temperature=self.stk_temperature,
            topk_ratio=self.topk_ratio,
            global_tokens=self.global_tokens,
            return_attention=self.return_attention,
            dtype=dtype,
        )
        token_set = TokenSet.start(tokens, protected=0)
        encoded = encode(token_set, train, [block] * self.depth, self.remat)
        tokens, looks = encoded.token_set.tokens, encoded.seen

        tokens = layers.LayerNorm(dtype=dtype, name="norm")(tokens)
        pooled, shares, window_weights = neighborhood.adaptive_local_pooling(
            tokens, self.k_neighbors, self.alp_temperature, self.alp_border
        )
        head = layers.Linear(self.num_classes, dtype=dtype, exact=True, name="head")
        return head(pooled), self._aux(looks, shares, window_weights)

    def _aux(
        self, looks: Sequence[dict], shares: jax.Array, window_weights: jax.Array
    ) -> dict:
        shown = self.return_attention
        alphas = [look["alpha"] for look in looks]
        effective = [look["effective_keys"] for look in looks]
        return {
            "alpha": jnp.stack(alphas),  # (depth, b)
            "attention": tuple(look["attention"] for look in looks) if shown else None,
            "effective_keys": jnp.stack(effective) if shown else None,  # (depth, b)
            "alp_shares": shares if shown else None,  # (b, n)
            "alp_weights": window_weights if shown else None,  # (b, n, 9)
            "losses": {},
        }
