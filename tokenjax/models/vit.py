"""The plain vision transformer: softmax attention, pre-norm blocks, a class token.

    tokens = [class token; patches] + pos_embed
    tokens += proj(softmax(q k^T / sqrt(D)) v),  tokens += MLP(tokens)   per block
    logits = head(LayerNorm(tokens)[0])

Source: starkplus/CIFAR-ViT, VisionTransformer (arguments and defaults are its own).
Ours: `dtype`, `remat`, `return_attention`.

Axes: batch b, heads h, tokens n (class token first), dim c, head_dim d.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.errors import UserError
from tokenjax.models import layers
from tokenjax.ops import soft_topk

_init = nn.initializers.normal(0.02)
_zeros = nn.initializers.zeros


class Block(nn.Module):
    """One pre-norm transformer block; its arguments are VisionTransformer's."""

    num_heads: int
    hidden_dim: int
    dropout: float
    attn_dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """(b, n, c) -> (b, n, c) and the attention after dropout (b, h, n, n)."""
        norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
        linear = functools.partial(
            layers.Linear, kernel_init=_init, bias_init=_zeros, dtype=self.dtype
        )
        attention = Attention(self.num_heads, self.attn_dropout, linear, name="attn")
        mixed, weights = attention(norm(name="norm1")(tokens), train)
        tokens += nn.Dropout(self.dropout, deterministic=not train)(mixed)
        mlp = layers.MLP(self.hidden_dim, self.dropout, linear=linear, name="mlp")
        return tokens + mlp(norm(name="norm2")(tokens), train), weights


class Attention(nn.Module):
    """Multi-head softmax attention: (b, n, c) -> (b, n, c), weights (b, h, n, n)."""

    num_heads: int
    dropout: float
    linear: Any

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        dim = tokens.shape[-1]
        qkv = self.linear(3 * dim, name="qkv")(tokens)
        query, key, value = layers.split_heads(qkv, self.num_heads)  # (b, h, n, d)
        logits = jnp.einsum(
            "bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32
        )
        weights = jax.nn.softmax(logits * query.shape[-1] ** -0.5, axis=-1)
        weights = nn.Dropout(self.dropout, deterministic=not train)(weights)
        mixed = layers.merge_heads(weights.astype(value.dtype) @ value)
        return self.linear(dim, name="proj")(mixed), weights


class VisionTransformer(nn.Module):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux).

    `aux`: with `return_attention` "attention", a tuple of (b, h, n, n) per block (after
    dropout, so not normalised in training), and "effective_keys" (depth, b), else None;
    "losses" {}.

    Raises: UserError for arguments that do not fit together, ValueError for images that
    do not fit the arguments.
    """

    img_size: int = 32
    patch_size: int = 4
    in_channels: int = 3
    num_classes: int = 10
    embed_dim: int = 512
    depth: int = 6
    num_heads: int = 8
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    attn_dropout: float = 0.1
    dtype: Any = "float32"
    remat: bool = False
    return_attention: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.img_size % self.patch_size:
            raise UserError("vit: img_size must divide by patch_size")
        if self.embed_dim % self.num_heads:
            raise UserError("vit: embed_dim must divide by num_heads")

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Zeros of the shape that the model takes."""
        shape = (batch_size, self.img_size, self.img_size, self.in_channels)
        return (jnp.zeros(shape, jnp.float32),)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple:
        layers.check_images(images, (self.img_size, self.img_size, self.in_channels))
        dtype = jnp.dtype(self.dtype)
        patches = layers.PatchEmbedding(
            self.patch_size, self.embed_dim, dtype=dtype, name="patch_embed"
        )(images)  # (b, patches, c)
        batch, count, dim = patches.shape
        class_token = self.param("cls_token", _init, (1, 1, dim))
        class_token = jnp.broadcast_to(class_token, (batch, 1, dim)).astype(dtype)
        position = self.param("pos_embed", _init, (1, count + 1, dim))
        tokens = jnp.concatenate([class_token, patches], axis=1)  # (b, n, c)
        tokens += position.astype(dtype)
        tokens = nn.Dropout(self.dropout, deterministic=not train)(tokens)

        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        attention = []
        for index in range(self.depth):
            tokens, weights = block(
                num_heads=self.num_heads,
                hidden_dim=int(self.embed_dim * self.mlp_ratio),
                dropout=self.dropout,
                attn_dropout=self.attn_dropout,
                dtype=dtype,
                name=f"blocks_{index}",
            )(tokens, train)
            attention.append(weights)

        tokens = layers.LayerNorm(dtype=dtype, name="norm")(tokens)
        logits = layers.Linear(
            self.num_classes, _init, _zeros, dtype=dtype, name="head"
        )(tokens[:, 0])
        return logits.astype(jnp.float32), self._aux(attention)

    def _aux(self, attention: list[jax.Array]) -> dict:
        if not self.return_attention:
            return {"attention": None, "effective_keys": None, "losses": {}}
        effective = [soft_topk.effective_keys(maps).mean((1, 2)) for maps in attention]
        return {
            "attention": tuple(attention),
            "effective_keys": jnp.stack(effective),  # (depth, b)
            "losses": {},
        }
