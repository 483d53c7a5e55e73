"""SDTPS: of each modality's tokens a sparse choice, aggregated to fewer still.

Per modality m with tokens x_m (b, n, c) and a global vector g_m (b, c):

    a_mj    = cos(x_m, g_j)                                            (b, n)
    score   = (1 - 2 beta) p(x_m) + beta (2 mm(a_mm) + sum_{j != m} mm(a_mj))
    kept    = the ceil(n * sparse_ratio) tokens of best score
    extra   = sum over the dropped of softmax(score) x_m               (b, 1, c)
    mask    = 1 for the kept, in training with Gumbel noise g
              hard + (soft - stop_gradient(soft)), soft = softmax((score + g) / tau)
    out     = [softmax(scale A(LN kept)) kept; extra]                  (b, n_c + 1, c)
            | [... ; extra; g_m] with `class_token`                    (b, n_c + 2, c)

with p a predictor in (0, 1), A a small MLP to n_c rows and mm the min-max normalisation
over an image's tokens. The noise changes gradients and nothing else. Selection follows
(score, index): of equal scores the earlier token goes first.

How the mask enters the aggregation (`mask_aggregation`); its value is 1 at every kept
token, so only gradients differ:

    "recorded"  logits - (1 - mask) 1e10: the straight-through gradient times 1e10
    "policy"    weights * mask / sum(weights * mask): a gradient of ordinary size
    "none"      it does not

Which similarities a carry a gradient (`score_gradient`): "all", "self" (a_mm alone) or
"none". Scores are computed in float32 whatever `dtype` is.

Source: DeMo2 at 6334359, modeling/sdtps_complete.py (defaults are its own); "none" for
`score_gradient` is its parent commit; with `class_token` 196 patches become the 41 of
SEPS, where selection comes from. Ours: "policy", "self", any named modalities.

Axes: batch b, tokens n, kept k, aggregated a, dim c.
"""

import functools
import math
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import (
    COUNT,
    LARGEST_SIZE,
    NOT_OF_WEIGHTS,
    SIZE,
    DType,
    FromData,
    at_least,
)
from tokenjax.models import layers
from tokenjax.models.argument_types import PART, POSITIVE, RATIO, Width
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.layers import Aux
from tokenjax.ops import token_selection
from tokenjax.ops.straight_through import straight_through

MODALITIES = ("rgb", "nir", "tir")
MaskAggregation = Annotated[
    Literal["recorded", "policy", "none"],
    "how the mask enters SDTPS's aggregation: the original's way, one with gradients "
    "of ordinary size, or not at all",
]
ScoreGradient = Annotated[
    Literal["all", "self", "none"],
    NOT_OF_WEIGHTS,
    "which of SDTPS's similarities have a gradient: all, those to the modality itself, "
    "or none",
]
SparseRatio = Annotated[float, PART, "share of the tokens that SDTPS keeps"]
AggregationRatio = Annotated[
    float, PART, "tokens that SDTPS makes, as a share of those it keeps"
]
SDTPSWidth = Annotated[Width, at_least(4, LARGEST_SIZE)]
DimRatio = Annotated[
    float, RATIO, "hidden channels of the aggregation, as a share of a token's"
]
Beta = Annotated[
    float, at_least(0, 0.5), "weight of the similarities in SDTPS's scores"
]
UseGumbel = Annotated[
    bool, "draw noise in training for the gradients of SDTPS's choice"
]
GumbelTemperature = Annotated[float, POSITIVE, "of that draw; smaller is sharper"]
ClassToken = Annotated[
    bool, "append each modality's global vector to the tokens that SDTPS makes"
]
ModalityNames = Annotated[
    tuple[str, ...], FromData("modalities"), "names of the modalities, in order"
]


class Selection(NamedTuple):
    """A choice of tokens, as `TokenSparse` makes it."""

    tokens: jax.Array  # (b, k, c), the best first
    extra: jax.Array  # (b, 1, c), of the dropped
    mask: jax.Array  # (b, n)
    selected_mask: jax.Array  # (b, k), the mask at the kept
    keep_indices: jax.Array  # (b, k) int32
    scores: jax.Array  # (b, n) float32
    predicted: jax.Array  # (b, n) float32


class TokenSparse(CheckedModule):
    """Chooses tokens by predicted and by given scores."""

    embed_dim: SDTPSWidth = 512
    sparse_ratio: SparseRatio = 0.5
    use_gumbel: UseGumbel = False
    gumbel_tau: GumbelTemperature = 1.0
    dtype: DType = "float32"

    def example_inputs(self, batch_size: int) -> tuple[jax.Array, ...]:
        """Return zeros of shapes that the module takes."""
        tokens = jnp.zeros((batch_size, 4, self.embed_dim), jnp.float32)
        return tokens, *(jnp.zeros((batch_size, 4)) for _ in range(3))

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        self_attention: jax.Array,
        *cross_attention: jax.Array,
        beta: float = 0.25,
        train: bool = False,
        uniforms: jax.Array | None = None,
    ) -> Selection:
        """Choose of tokens (b, n, c) by scores (b, n) each; see the module's docstring.

        `uniforms` (b, n) in [0, 1) replace the draws of rng "gumbel".
        """
        linear = functools.partial(layers.Linear, dtype=jnp.dtype(self.dtype))
        hidden = linear(self.embed_dim // 4, name="fc1")(tokens)
        logits = linear(1, exact=True, name="fc2")(layers.gelu(hidden))
        predicted = jax.nn.sigmoid(logits[..., 0])  # (b, n)
        normalized = token_selection.min_max_normalize
        given = 2 * normalized(self_attention)
        given += sum(normalized(scores) for scores in cross_attention)
        scores = (1 - 2 * beta) * predicted + beta * given  # (b, n)

        count = kept_count(tokens.shape[1], self.sparse_ratio)
        keep = token_selection.rank_tokens(jax.lax.stop_gradient(scores), count)
        mask = token_selection.keep_mask(keep, tokens.shape[1])  # (b, n)
        weights = jax.nn.softmax(scores, axis=-1, where=mask < 0.5)  # (b, n)
        extra = token_selection.fuse_dropped(tokens, weights, mask)
        if train and self.use_gumbel:
            if uniforms is None:
                uniforms = jax.random.uniform(self.make_rng("gumbel"), scores.shape)
            noise = -jnp.log(-jnp.log(uniforms + 1e-9) + 1e-9)
            soft = jax.nn.softmax((scores + noise) / self.gumbel_tau, axis=-1)
            mask = straight_through(mask, soft)
        return Selection(
            tokens=token_selection.gather_tokens(tokens, keep),
            extra=extra,
            mask=mask,
            selected_mask=token_selection.gather_tokens(mask, keep),
            keep_indices=keep,
            scores=scores,
            predicted=predicted,
        )


class TokenAggregation(CheckedModule):
    """(b, k, c) -> (b, keeped_patches, c), each a learned mean of the k tokens."""

    dim: Width = 512
    keeped_patches: Annotated[int, COUNT, "tokens to make"] = 26
    dim_ratio: DimRatio = 0.2
    mask_aggregation: MaskAggregation = "recorded"
    dtype: DType = "float32"

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Return zeros of a shape that the module takes."""
        return (jnp.zeros((batch_size, 4, self.dim), jnp.float32),)

    @nn.compact
    def __call__(
        self, tokens: jax.Array, keep_policy: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Aggregate (b, k, c) under a policy (b, k): (b, a, c), weights (b, a, k)."""
        dtype = jnp.dtype(self.dtype)
        linear = functools.partial(layers.Linear, dtype=dtype)
        hidden = layers.LayerNorm(dtype=dtype, name="norm")(tokens)
        hidden = linear(int(self.dim * self.dim_ratio), name="fc1")(hidden)
        hidden = layers.gelu(hidden)
        # Of no rows no variance can be had; the original has such a layer too.
        init = (
            layers.torch_kernel_init if self.keeped_patches else nn.initializers.zeros
        )
        output = linear(self.keeped_patches, kernel_init=init, exact=True, name="fc2")
        logits = output(hidden)  # (b, k, a)
        scale = self.param("scale", nn.initializers.ones, (1, 1, 1))
        logits = logits.swapaxes(1, 2) * scale  # (b, a, k)
        policy = None if keep_policy is None else keep_policy[:, None]  # (b, 1, k)
        if policy is not None and self.mask_aggregation == "recorded":
            logits -= (1 - policy) * 1e10
        weights = jax.nn.softmax(logits, axis=-1)
        if policy is not None and self.mask_aggregation == "policy":
            weights *= policy
            weights /= weights.sum(-1, keepdims=True)
        return weights.astype(dtype) @ tokens.astype(dtype), weights


class MultiModalSDTPS(CheckedModule):
    """Selection and aggregation for each of several modalities.

    Applied to dicts by modality of tokens (b, n, c) and global vectors (b, c), gives
    (enhanced, aux): enhanced by modality (b, n_c + 1, c), with `class_token` one more,
    the modality's global vector, at the end; aux of dicts by modality
      "mask": (b, n), 1 for the kept; its gradient is straight-through in training;
      "scores": (b, n) float32;  "keep_indices": (b, k) int32, the best first;
      "aggregation": (b, n_c, k), what each aggregated token is made of;
      "similarities": (modalities, b, n), own first, then the others in order.

    `num_patches` sets n_c = int(num_patches * aggr_ratio * sparse_ratio) alone: other
    numbers of tokens are accepted. `uniforms`, by modality (b, n), replace the draws.

    Raises: UserError for arguments out of range, ValueError for inputs that do not fit.
    """

    embed_dim: SDTPSWidth = 512
    num_patches: Annotated[int, SIZE, "tokens that sizes are counted from"] = 128
    sparse_ratio: SparseRatio = 0.5
    aggr_ratio: AggregationRatio = 0.4
    use_gumbel: UseGumbel = False
    gumbel_tau: GumbelTemperature = 1.0
    beta: Beta = 0.25
    dim_ratio: DimRatio = 0.2
    modalities: ModalityNames = MODALITIES
    mask_aggregation: MaskAggregation = "recorded"
    score_gradient: ScoreGradient = "all"
    class_token: ClassToken = False
    dtype: DType = "float32"

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        names = self.modalities
        return [
            (int(self.embed_dim * self.dim_ratio) < 1, "dim_ratio is too small"),
            (
                not names or len(set(names)) < len(names),
                f"modalities must be different names, got {names}",
            ),
        ]

    @property
    def aggregated(self) -> int:
        """Return n_c, without the extra token; 0 for very few patches, as recorded."""
        return int(self.num_patches * self.aggr_ratio * self.sparse_ratio)

    @property
    def made(self) -> int:
        """Return how many tokens come out: n_c, the extra one, and the class's."""
        return self.aggregated + (2 if self.class_token else 1)

    def example_inputs(self, batch_size: int) -> tuple[dict, dict]:
        """Return zeros of the shapes that the module takes."""
        tokens = jnp.zeros((batch_size, self.num_patches, self.embed_dim), jnp.float32)
        names = self.modalities
        return dict.fromkeys(names, tokens), dict.fromkeys(names, tokens[:, 0])

    @nn.compact
    def __call__(
        self,
        tokens: Mapping[str, jax.Array],
        globals_: Mapping[str, jax.Array],
        train: bool = False,
        uniforms: Mapping[str, jax.Array] | None = None,
    ) -> tuple[dict[str, jax.Array], Aux]:
        """Compute; see the class."""
        self._check_inputs(tokens, globals_, uniforms)
        enhanced: dict[str, jax.Array] = {}
        keys = ("mask", "scores", "keep_indices", "aggregation", "similarities")
        aux: Aux = {key: {} for key in keys}
        for name in self.modalities:
            others = [other for other in self.modalities if other != name]
            similarities = [
                self._similarity(tokens[name], globals_[other], other == name)
                for other in (name, *others)
            ]
            selection = TokenSparse(
                embed_dim=self.embed_dim,
                sparse_ratio=self.sparse_ratio,
                use_gumbel=self.use_gumbel,
                gumbel_tau=self.gumbel_tau,
                dtype=self.dtype,
                name=f"{name}_sparse",
            )(
                tokens[name],
                *similarities,
                beta=self.beta,
                train=train,
                uniforms=None if uniforms is None else uniforms[name],
            )
            aggregated, weights = TokenAggregation(
                dim=self.embed_dim,
                keeped_patches=self.aggregated,
                dim_ratio=self.dim_ratio,
                mask_aggregation=self.mask_aggregation,
                dtype=self.dtype,
                name=f"{name}_aggr",
            )(selection.tokens, selection.selected_mask)
            made = [aggregated, selection.extra.astype(aggregated.dtype)]
            if self.class_token:
                made.append(globals_[name][:, None].astype(aggregated.dtype))
            enhanced[name] = jnp.concatenate(made, axis=1)
            aux["mask"][name] = selection.mask
            aux["scores"][name] = selection.scores
            aux["keep_indices"][name] = selection.keep_indices
            aux["aggregation"][name] = weights
            aux["similarities"][name] = jnp.stack(similarities)  # (m, b, n)
        return enhanced, aux

    def _check_inputs(
        self,
        tokens: Mapping[str, jax.Array],
        globals_: Mapping[str, jax.Array],
        uniforms: Mapping[str, jax.Array] | None,
    ) -> None:
        check_modalities("tokens", tokens, self.modalities)
        check_modalities("globals", globals_, self.modalities)
        if uniforms is not None:
            check_modalities("uniforms", uniforms, self.modalities)
        for given in (*tokens.values(), *globals_.values()):
            if given.shape[-1] != self.embed_dim:
                raise ValueError(
                    f"tokens and globals must be of embed_dim {self.embed_dim}, "
                    f"got {given.shape}"
                )

    def _similarity(self, tokens: jax.Array, vector: jax.Array, own: bool) -> jax.Array:
        """Return each token's (b, n, c) cosine with a vector (b, c): (b, n) float32."""
        if self.score_gradient == "none" or (self.score_gradient == "self" and not own):
            tokens, vector = jax.lax.stop_gradient((tokens, vector))
        tokens, vector = unit(tokens), unit(vector)
        return jnp.einsum("bnc,bc->bn", tokens, vector)


def kept_count(num_tokens: int, sparse_ratio: float) -> int:
    """Return how many of so many tokens are kept."""
    return max(1, math.ceil(num_tokens * sparse_ratio))


def unit(vectors: jax.Array) -> jax.Array:
    """Divide vectors (..., c) by their lengths (1e-12 at least), float32."""
    vectors = vectors.astype(jnp.float32)
    square = jnp.square(vectors).sum(-1, keepdims=True)
    # The inner where keeps the gradient at a vector of zeros from being NaN.
    length = jnp.sqrt(jnp.where(square >= 1e-24, square, 1e-24))
    return vectors / length


def check_modalities(
    what: str, given: Mapping[str, jax.Array], expected: tuple[str, ...]
) -> None:
    """Raise ValueError unless `given` has exactly these names."""
    if set(given) != set(expected):
        raise ValueError(
            f"{what} must be a dict by modality {expected}, got {tuple(sorted(given))}"
        )
