"""An ImageNet vision transformer whose every token knows its camera; no head.

    tokens = [class; patches] + positions + sie_xishu * sie_embed[camera]
    tokens = blocks(tokens)                                   pre-norm, `activation`
    output = norm(tokens)                                             all tokens

Source: TransReID's and DeMo's `vit_pytorch.py`, Trans (arguments and defaults are its
own; `norm_eps` stands for its `norm_layer`). The camera embedding exists for more than
one camera or view; with both its row is camera * views + view. Ours: `activation`,
`dtype`, `remat`, `return_intermediate`; `patch_drop_rate` is timm's (1.0.31).

Axes: batch b, tokens n (class token first, then patches row by row), dim c.
"""

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import COUNT, NOT_NEGATIVE, DType
from tokenjax.models import contract, layers, patch_grid
from tokenjax.models.argument_types import (
    ActivationName,
    AttentionDropout,
    Channels,
    Depth,
    Dropout,
    DropPath,
    Epsilon,
    Heads,
    MlpRatio,
    PatchDropout,
    PatchSize,
    Remat,
    ReturnIntermediate,
    SideOrSize,
    Stride,
    Width,
)
from tokenjax.models.encoder import encode, normal_init, patch_init, vision_blocks
from tokenjax.models.layers import Aux
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import (
    EncoderFacts,
    TakesReduction,
    TokenSet,
    predictor_group,
)
from tokenjax.models.reduction.token_set import leave_out
from tokenjax.models.registry import Presets

_PRESET = {"qkv_bias": True, "drop_path_rate": 0.1, "norm_eps": 1e-6}
PRESETS: Presets = {  # the original's factories
    "camera_vit_base_patch16": _PRESET,
    "camera_vit_small_patch16": _PRESET
    | {"depth": 8, "num_heads": 8, "mlp_ratio": 3.0}
    | {"qkv_bias": False, "qk_scale": 768**-0.5},
    "camera_deit_small_patch16": _PRESET | {"embed_dim": 384, "num_heads": 6},
}


class CameraViT(TakesReduction):
    """Images (b, *img_size, in_chans) -> (tokens (b, n, embed_dim) in float32, aux).

    `aux`: "losses" and "reduction", what the reduction says; and, None without
    `return_intermediate`, "embedded" (b, n, c) and "blocks", a tuple of every block's
    output (b, n, c). In training dropout, the share `patch_drop_rate` of the patches
    that is left out, and stochastic depth, of rates 0 to `drop_path_rate` from first to
    last block, draw from the rng "dropout".

    Raises: UserError for arguments that do not fit together, ValueError for inputs that
    do not fit the arguments. A camera that is not there makes its tokens NaN.
    """

    img_size: SideOrSize = 224
    patch_size: PatchSize = 16
    stride_size: Stride = 16
    in_chans: Channels = 3
    embed_dim: Width = 768
    depth: Depth = 12
    num_heads: Heads = 12
    mlp_ratio: MlpRatio = 4.0
    qkv_bias: Annotated[bool, "a bias in the layer of queries, keys and values"] = False
    qk_scale: Annotated[
        float | None, "of the attention logits; None: 1 / sqrt(channels of a head)"
    ] = None
    drop_rate: Dropout = 0.0
    attn_drop_rate: AttentionDropout = 0.0
    camera: Annotated[int, COUNT, "cameras told apart"] = 0
    view: Annotated[int, COUNT, "views told apart"] = 0
    drop_path_rate: DropPath = 0.0
    patch_drop_rate: PatchDropout = 0.0
    sie_xishu: Annotated[
        float, NOT_NEGATIVE, "weight of the embedding of camera and view"
    ] = 1.0
    norm_eps: Epsilon = 1e-5
    activation: ActivationName = "gelu"
    dtype: DType = "float32"
    remat: Remat = False
    return_intermediate: ReturnIntermediate = False

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        small = min(self.image_size) < self.patch_size
        return [
            (
                bool(self.embed_dim % self.num_heads),
                "embed_dim must divide by num_heads",
            ),
            (small, "img_size must be at least patch_size"),
        ]

    def facts(self) -> EncoderFacts:
        """Return what a method of reduction may know."""
        rows, columns = self.grid
        return EncoderFacts(
            depth=self.depth,
            patches=rows * columns,
            protected=1,
            class_token=True,
            distilled=False,
            width=self.embed_dim,
            num_heads=self.num_heads,
            patch_inputs=self.patch_size**2 * self.in_chans,
            hidden=int(self.embed_dim * self.mlp_ratio),
            dtype=self.dtype,
        )

    @property
    def image_size(self) -> tuple[int, int]:
        """Return (height, width) of the images."""
        return patch_grid.pair(self.img_size)

    @property
    def stride(self) -> tuple[int, int]:
        """Return the pixels from one patch to the next: (down, right)."""
        return patch_grid.pair(self.stride_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Return (rows, columns) of patches."""
        return patch_grid.grid_of(self.image_size, self.patch_size, self.stride)

    def unseen_pixels(self) -> tuple[int, int]:
        """Return the rows and columns that fill no patch, see `contract.Crops`."""
        return patch_grid.left_over(self.image_size, self.patch_size, self.stride)

    @property
    def feature_dim(self) -> int:
        """Return the size of an output token."""
        return self.embed_dim

    @property
    def embedding_rows(self) -> int:
        """Return the rows of the camera embedding, 0 without one."""
        rows = max(self.camera, 1) * max(self.view, 1)
        return rows if rows > 1 else 0

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        cameras = {contract.CAMERAS: ("sie_embed",)} if self.embedding_rows else {}
        predictors = predictor_group(self.written_reduction(), self.facts())
        return {contract.INPUT: ("patch_embed/kernel",), **cameras, **predictors}

    def backbone_settings(self) -> dict[str, object]:
        """Return what no shape tells, as `contract.HasBackbone` says."""
        names = ("num_heads", "qk_scale", "norm_eps", "activation")
        return {name: getattr(self, name) for name in names}

    def places(self) -> dict[str, Places]:
        """Return the layout of its positions, as `contract.KnowsPlaces` says."""
        return {"params/pos_embed": Places(*self.grid)}

    def example_inputs(self, batch_size: int) -> tuple[jax.Array, ...]:
        """Return zeros of the shapes that the model takes: images, cameras, views."""
        shape = (batch_size, *self.image_size, self.in_chans)
        number = 2 if self.view > 1 else int(self.camera > 1)
        indices = [jnp.zeros(batch_size, jnp.int32)] * number
        return (jnp.zeros(shape, jnp.float32), *indices)

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        cameras: jax.Array | None = None,
        views: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, Aux]:
        """Compute; `cameras` and `views` (b,): indices, read if there are several."""
        layers.check_images(images, (*self.image_size, self.in_chans))
        dtype = jnp.dtype(self.dtype)
        tokens = self._embed(images, train)
        tokens += self._camera(cameras, views)
        token_set = TokenSet.start(tokens, protected=1)
        if train and self.patch_drop_rate:
            key = self.make_rng("dropout")
            token_set = leave_out(token_set, key, self.patch_drop_rate)
        drop = layers.Dropout(self.drop_rate, deterministic=not train)
        embedded = drop(token_set.tokens)
        encoded = encode(
            token_set.replace(tokens=embedded),
            train,
            vision_blocks(
                self.depth,
                num_heads=self.num_heads,
                hidden_dim=int(self.embed_dim * self.mlp_ratio),
                activation=layers.ACTIVATIONS[self.activation],
                epsilon=self.norm_eps,
                in_proj_bias=self.qkv_bias,
                scale=self.qk_scale,
                dropout=self.drop_rate,
                attention_dropout=self.attn_drop_rate,
                drop_path=self.drop_path_rate,
                dtype=dtype,
            ),
            self.remat,
            self.written_reduction(),
            self.facts(),
        )
        norm = nn.LayerNorm(epsilon=self.norm_eps, dtype=dtype, name="norm")
        seen: Aux = dict.fromkeys(("embedded", "blocks"))
        if self.return_intermediate:
            seen = {"embedded": embedded, "blocks": encoded.outputs}
        aux = {"losses": encoded.losses(), "reduction": encoded.account(), **seen}
        return norm(encoded.token_set.tokens).astype(jnp.float32), aux

    def _embed(self, images: jax.Array, train: bool) -> jax.Array:
        """Turn images into tokens with their positions: (b, n, c)."""
        del train
        dtype = jnp.dtype(self.dtype)
        patches = layers.PatchEmbedding(
            self.patch_size,
            self.embed_dim,
            dtype=dtype,
            stride=self.stride,
            kernel_init=patch_init,
            name="patch_embed",
        )(images).astype(layers.STREAM)
        _, count, dim = patches.shape
        class_token = self.param("cls_token", normal_init, (1, 1, dim))
        tokens = layers.put_in_front([class_token], patches)
        position = self.param("pos_embed", normal_init, (1, count + 1, dim))
        return tokens + position

    def _camera(self, cameras: jax.Array | None, views: jax.Array | None) -> jax.Array:
        """Return what a camera and view add to each token: (b, 1, c)."""
        if not self.embedding_rows:
            return jnp.zeros((1, 1, 1))
        row = jnp.zeros((), jnp.int32)
        for name, count, given in (
            ("camera", self.camera, cameras),
            ("view", self.view, views),
        ):
            if count <= 1:
                continue
            if given is None:
                raise ValueError(
                    f"the model has an embedding of {count} {name}s, so it takes "
                    f"{name}s (batch,)"
                )
            row = row * count + given
        shape = (self.embedding_rows, 1, self.embed_dim)
        # Converted variables are NumPy's, which outside jit have no `at`.
        embedding = jnp.asarray(self.param("sie_embed", normal_init, shape))
        return self.sie_xishu * embedding.at[row].get(mode="fill", fill_value=jnp.nan)
