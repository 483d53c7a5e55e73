"""CLIP's image encoder, projected for every token, with a camera embedding.

    tokens = ln_pre([class + camera; patches] + positions)
    tokens = blocks(tokens)                            pre-norm, `activation`, hidden 4c
    output = proj(ln_post(tokens))                        all tokens, not just class

Source: openai/CLIP as DeMo changed it (`modeling/clip/model.py`, VisionTransformer).
The grid need not be square, patches may overlap, and the camera embedding reaches the
class token only. Ours: `dtype`, `remat`, `return_intermediate`, and `activation`:
OpenAI trained with QuickGELU, open_clip's models have GELU unless their names end in
"-quickgelu".

Axes: batch b, tokens n (class token first, then patches row by row), width c.
"""

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import SIZE, DType
from tokenjax.models import contract, patch_grid
from tokenjax.models.argument_types import (
    ActivationName,
    Depth,
    Heads,
    PatchSize,
    Remat,
    ReturnIntermediate,
    Stride,
    Width,
)
from tokenjax.models.encoder import encode, vision_blocks
from tokenjax.models.layers import (
    ACTIVATIONS,
    STREAM,
    Aux,
    LayerNorm,
    Linear,
    PatchEmbedding,
)
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import (
    EncoderFacts,
    TakesReduction,
    TokenSet,
    predictor_group,
)


class ClipVisionTransformer(TakesReduction):
    """Images (b, height, width, 3) -> (tokens (b, n, output_dim) in float32, aux).

    `aux`: "losses" and "reduction", what the reduction says; and, None without
    `return_intermediate`, "ln_pre" (b, n, c), "blocks", a tuple of every block's output
    (b, n, c), and "ln_post" (b, n, c).

    Raises: UserError for arguments that do not fit together, ValueError for images or
    camera embeddings that do not fit the arguments.
    """

    h_resolution: Annotated[int, SIZE, "rows of patches"] = 16
    w_resolution: Annotated[int, SIZE, "columns of patches"] = 8
    patch_size: PatchSize = 16
    stride_size: Stride = 16
    width: Width = 768
    layers: Depth = 12
    heads: Heads = 12
    output_dim: Annotated[Width, "channels of an output token"] = 512
    activation: ActivationName = "quick_gelu"
    dtype: DType = "float32"
    remat: Remat = False
    return_intermediate: ReturnIntermediate = False

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        return [(bool(self.width % self.heads), "width must divide by heads")]

    def facts(self) -> EncoderFacts:
        """Return what a method of reduction may know."""
        return EncoderFacts(
            depth=self.layers,
            patches=self.h_resolution * self.w_resolution,
            protected=1,
            class_token=True,
            distilled=False,
            width=self.width,
            num_heads=self.heads,
            patch_inputs=self.patch_size**2 * 3,
            hidden=4 * self.width,
            dtype=self.dtype,
        )

    @property
    def stride(self) -> tuple[int, int]:
        """Return the pixels from one patch to the next: (down, right)."""
        return patch_grid.pair(self.stride_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Return (rows, columns) of patches."""
        return self.h_resolution, self.w_resolution

    @property
    def feature_dim(self) -> int:
        """Return the size of an output token."""
        return self.output_dim

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        return predictor_group(self.written_reduction(), self.facts())

    def backbone_settings(self) -> dict[str, object]:
        """Return what no shape tells, as `contract.HasBackbone` says."""
        return {"heads": self.heads, "activation": self.activation}

    def places(self) -> dict[str, Places]:
        """Return the layout of its positions, as `contract.KnowsPlaces` says."""
        return {"params/positional_embedding": Places(*self.grid)}

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Return zeros of the smallest shape that the model takes."""
        size = patch_grid.smallest_size(self.grid, self.patch_size, self.stride)
        return (jnp.zeros((batch_size, *size, 3), jnp.float32),)

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        cv_embed: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, Aux]:
        """Compute; `cv_embed` (b, 1, c): the camera's embedding, times its weight."""
        self._check(images, cv_embed)
        dtype = jnp.dtype(self.dtype)
        tokens = self._embed(images, cv_embed)
        embedded = LayerNorm(dtype=STREAM, name="ln_pre")(tokens)
        encoded = encode(
            TokenSet.start(embedded, protected=1),
            train,
            vision_blocks(
                self.layers,
                num_heads=self.heads,
                hidden_dim=4 * self.width,
                activation=ACTIVATIONS[self.activation],
                in_proj_init=nn.initializers.xavier_uniform(),
                dtype=dtype,
            ),
            self.remat,
            self.written_reduction(),
            self.facts(),
        )
        norm = LayerNorm(dtype=dtype, name="ln_post")
        tokens = norm(encoded.token_set.tokens)
        projected = Linear(
            self.output_dim,
            kernel_init=nn.initializers.normal(self.width**-0.5),
            dtype=dtype,
            use_bias=False,
            exact=True,
            name="proj",
        )(tokens)
        seen: Aux = dict.fromkeys(("ln_pre", "blocks", "ln_post"))
        if self.return_intermediate:
            blocks = encoded.outputs
            seen = {"ln_pre": embedded, "blocks": blocks, "ln_post": tokens}
        aux = {"losses": encoded.losses(), "reduction": encoded.account(), **seen}
        return projected, aux

    def _embed(self, images: jax.Array, cv_embed: jax.Array | None) -> jax.Array:
        """Turn images into tokens with positions and the camera: (b, n, c)."""
        batch = len(images)
        patches = PatchEmbedding(
            self.patch_size,
            self.width,
            dtype=jnp.dtype(self.dtype),
            stride=self.stride,
            use_bias=False,
            name="patch_embed",
        )(images).astype(STREAM)
        init = nn.initializers.normal(self.width**-0.5)
        class_token = self.param("class_embedding", init, (self.width,))
        class_token = jnp.broadcast_to(class_token, (batch, 1, self.width))
        if cv_embed is not None:
            class_token += cv_embed
        tokens = jnp.concatenate([class_token, patches], axis=1)
        shape = (tokens.shape[1], self.width)
        return tokens + self.param("positional_embedding", init, shape)

    def _check(self, images: jax.Array, cv_embed: jax.Array | None) -> None:
        patch_grid.check_images(images, self.grid, self.patch_size, self.stride)
        expected = (len(images), 1, self.width)
        if cv_embed is not None and cv_embed.shape != expected:
            raise ValueError(
                f"cv_embed is (batch, 1, width), here {expected}; "
                f"got {tuple(cv_embed.shape)}"
            )
