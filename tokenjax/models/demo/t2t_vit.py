"""T2T-ViT: patches overlap and attend to each other while they grow; no head.

    features = images
    repeat for strides 4, 2:  features = tokens_to_features(attend(split(features)))
    patches = project(split(features)), stride 2                a grid of the image / 16
    tokens = [class; patches] + sinusoids + sie_xishu * sie_embed[camera]
    output = norm(blocks(tokens))                               as `CameraViT`

`split` is PyTorch's Unfold. `attend` works at `token_dim`, with one head:

    y = v + proj(attention(q, k, v)),  (q | k | v) = qkv(LN(x));   y + MLP(LN(y))

where attention is, for `tokens_type` "transformer", softmax(q k^T / sqrt(c)) v, c being
the size of x, not that of q, as in the original, and for "performer", with fixed w of
m rows and in time linear in the number of tokens,

    f(q) (f(k)^T v) / (f(q) f(k)^T 1 + 1e-8),   f(x) = exp(w x - |x|^2 / 2) / sqrt(m)

What is fixed, the sinusoids and w, is no parameter: it is in the collection
"constants", which no optimiser sees and which a conversion fills like any other.

Source: Yuan et al. 2021 (arXiv 2101.11986), yitu-opensource/T2T-ViT, and DeMo's
`t2t.py`, which adds the cameras and fixes the image to 256 x 128; here its sides are
any that divide by 16.

Axes: batch b, tokens n, rows h, columns w, dim c.
"""

import functools
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import LARGEST_SIZE, NOT_NEGATIVE, DType, at_least
from tokenjax.models import contract, layers
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.encoder import normal_init
from tokenjax.models.layers import ModuleMaker
from tokenjax.models.position_embedding import Places
from tokenjax.models.registry import Presets

TokensType = Literal["transformer", "performer"]
CELL = 16  # pixels from one final token to the next: 4 * 2 * 2
_FOURTEEN = {"embed_dim": 384, "depth": 14, "num_heads": 6, "mlp_ratio": 3.0}
_TWENTY_FOUR = {"embed_dim": 512, "depth": 24, "num_heads": 8, "mlp_ratio": 3.0}
_DEMO = {"tokens_type": "transformer", "drop_path_rate": 0.1, "sie_xishu": 1.5}
PRESETS: Presets = {  # the originals' factories
    "t2t_vit_14": _FOURTEEN | {"tokens_type": "performer"},
    "t2t_vit_t_14": _FOURTEEN | _DEMO,
    "t2t_vit_t_24": _TWENTY_FOUR | _DEMO,
}

_linear = functools.partial(
    layers.Linear, kernel_init=normal_init, bias_init=nn.initializers.zeros
)


def soft_split(features: jax.Array, stride: int) -> jax.Array:
    """Cut windows that overlap: (b, h, w, c) -> (b, h / stride, w / stride, c side^2).

    Windows of side 2 * stride - 1 on a map with a border of stride / 2 zeros; within
    one, channels come before rows before columns. Each lies in two by two blocks of
    `stride` pixels, so that four slices do.
    """
    batch, height, width, channels = features.shape
    rows, columns, side = height // stride, width // stride, 2 * stride - 1
    border = (stride // 2, stride // 2)
    padded = jnp.pad(features, ((0, 0), border, border, (0, 0)))
    blocks = padded.reshape(batch, rows + 1, stride, columns + 1, stride, channels)
    windows = jnp.concatenate([blocks[:, :-1], blocks[:, 1:]], axis=2)
    windows = jnp.concatenate([windows[:, :, :, :-1], windows[:, :, :, 1:]], axis=4)
    windows = windows[:, :, :side, :, :side]  # (b, rows, side, columns, side, c)
    return windows.transpose(0, 1, 3, 5, 2, 4).reshape(batch, rows, columns, -1)


def sinusoids(count: int, dim: int) -> jax.Array:
    """Return (1, count, dim): sin(p / 10000^(j / dim)) at even j, then its cosine."""
    rates = 10000.0 ** (-2 * (np.arange(dim) // 2) / dim)
    angles = np.arange(count)[:, None] * rates
    table = np.where(np.arange(dim) % 2, np.cos(angles), np.sin(angles))
    return jnp.asarray(table[None], jnp.float32)


class TokenTransformer(nn.Module):
    """`attend` by softmax: (b, n, c) -> (b, n, token_dim)."""

    token_dim: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> jax.Array:
        norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
        linear = functools.partial(_linear, dtype=self.dtype)
        qkv = linear(3 * self.token_dim, use_bias=False, name="qkv")
        query, key, value = jnp.split(qkv(norm(name="norm1")(tokens)), 3, axis=-1)
        logits = jnp.einsum(
            "bqd,bkd->bqk", query, key, preferred_element_type=jnp.float32
        )
        weights = jax.nn.softmax(logits * tokens.shape[-1] ** -0.5)
        mixed = weights.astype(value.dtype) @ value
        outputs = value + linear(self.token_dim, name="proj")(mixed)
        mlp = layers.MLP(self.token_dim, linear=linear, name="mlp")
        return outputs + mlp(norm(name="norm2")(outputs), train)


class TokenPerformer(nn.Module):
    """`attend` by random features, of float32: (b, n, c) -> (b, n, token_dim)."""

    token_dim: int
    dtype: DType = jnp.float32
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> jax.Array:
        norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
        linear = functools.partial(_linear, dtype=self.dtype)
        drop = layers.Dropout(self.dropout, deterministic=not train)
        kqv = linear(3 * self.token_dim, name="kqv")(norm(name="norm1")(tokens))
        key, query, value = jnp.split(kqv, 3, axis=-1)
        key, query = self._features(jnp.stack([key, query]))  # (b, n, m)
        totals = jnp.einsum("bnm,bm->bn", query, key.sum(1))[..., None]
        sums = jnp.einsum("bnm,bnd->bmd", key, value.astype(jnp.float32))
        mixed = query @ sums / (totals + 1e-8)  # (b, n, token_dim)
        outputs = value + drop(linear(self.token_dim, name="proj")(mixed))
        mlp = layers.MLP(self.token_dim, linear=linear, name="mlp")
        return outputs + drop(mlp(norm(name="norm2")(outputs), train))

    def _features(self, vectors: jax.Array) -> jax.Array:
        """Compute f: (..., token_dim) -> (..., m)."""
        count = self.token_dim // 2
        init = nn.initializers.orthogonal(count**0.5)
        shape = (count, self.token_dim)
        directions = self.variable(
            "constants", "w", lambda: init(self.make_rng("params"), shape)
        ).value
        vectors = vectors.astype(jnp.float32)
        half_squares = jnp.square(vectors).sum(-1, keepdims=True) / 2
        return jnp.exp(vectors @ directions.T - half_squares) * count**-0.5


class TokensToTokens(nn.Module):
    """Images (b, h, w, in) -> patches (b, h / 16 * w / 16, embed_dim)."""

    tokens_type: TokensType
    embed_dim: int
    token_dim: int
    dtype: DType
    remat: bool

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        attend: ModuleMaker = TokenTransformer
        if self.tokens_type == "performer":
            attend = TokenPerformer
        if self.remat:
            attend = nn.remat(attend, static_argnums=(2,))
        features = images.astype(self.dtype)
        for number, stride in ((1, 4), (2, 2)):
            windows = soft_split(features, stride)  # (b, h, w, c)
            layer = attend(self.token_dim, self.dtype, name=f"attention{number}")
            tokens = layer(windows.reshape(len(images), -1, windows.shape[-1]), train)
            features = tokens.reshape(*windows.shape[:3], self.token_dim)
        windows = soft_split(features, 2)
        patches = windows.reshape(len(images), -1, windows.shape[-1])
        return _linear(self.embed_dim, dtype=self.dtype, name="project")(patches)


class T2TViT(CameraViT):
    """T2T-ViT, with the arguments, outputs and errors of `CameraViT`; see the module.

    In training "performer" tokens have dropout of 0.1, whatever `drop_rate` is.
    `patch_size` and `stride_size` are `CameraViT`'s and cannot be other than 16.
    """

    tokens_type: Annotated[
        TokensType, "attention among patches that grow; performer's is linear in them"
    ] = "performer"
    token_dim: Annotated[
        int, at_least(2, LARGEST_SIZE), "channels of the patches that grow"
    ] = 64
    sie_xishu: Annotated[
        float, NOT_NEGATIVE, "weight of the embedding of camera and view"
    ] = 3.0

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        sizes = (self.patch_size, *self.stride)
        uneven = any(side % CELL for side in self.image_size)
        return [
            *super().problems(),
            (set(sizes) != {CELL}, f"patch_size and stride_size must be {CELL}"),
            (uneven, f"img_size {self.image_size} must divide by {CELL}"),
        ]

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says.

        Patches that grow have no kernel of one channel's places: its channels are fixed
        once it is trained.
        """
        groups = dict(super().parameter_groups())
        del groups[contract.INPUT]
        return groups

    def places(self) -> dict[str, Places]:
        """Return the layout of its positions, as `contract.KnowsPlaces` says."""
        return {"constants/pos_embed": Places(*self.grid)}

    def _embed(self, images: jax.Array, train: bool) -> jax.Array:
        """Turn images into tokens with their positions: (b, n, c)."""
        dtype = jnp.dtype(self.dtype)
        patches = TokensToTokens(
            self.tokens_type,
            self.embed_dim,
            self.token_dim,
            dtype,
            self.remat,
            name="tokens_to_token",
        )(images, train).astype(layers.STREAM)
        _, count, dim = patches.shape
        class_token = self.param("cls_token", normal_init, (1, 1, dim))
        tokens = layers.put_in_front([class_token], patches)
        position = self.variable(
            "constants", "pos_embed", sinusoids, count + 1, dim
        ).value
        return tokens + position
