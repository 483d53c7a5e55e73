"""DynamicViT: before some blocks a network judges every patch, and the worst are gone.

    (log keep, log drop) = log softmax(predictor(patches, who is left))

At inference the int(p rate) patches of largest log keep stay, the best first; that is
also their order from then on. In training none is taken away: decisions are drawn
(Gumbel, straight-through, rng "gumbel"), a patch that was dropped stays dropped, and
every block attends under that policy (`ops.masked_attention.policy_softmax`), so that
the decisions learn by what they do. In `aux["reduction"]` "scores" are log keep,
"mask" (b, p) says which patches are left.

    losses: ratio_weight (mean_j mask_j - rate)^2, the mean over images and places

The distillation that goes with it is the task "pruning"'s.

Source: Rao et al. 2021 (arXiv 2106.02034), raoyongming/DynamicViT. There an image of
which no patch is kept gives NaN; here the next predictor's mean over those left is 0.
Patches are ranked by log keep - log drop, which orders them as log keep does and tells
them apart also where that has come to 0. Ours: `execution="masked"`, to hold the
gathered one against. CIFAR-ViT's is `models.dynamic_vit`.
"""

import functools
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import COUNT, NOT_NEGATIVE, NOT_OF_WEIGHTS
from tokenjax.errors import UserError
from tokenjax.models import layers
from tokenjax.models.argument_types import PART, Execution
from tokenjax.models.attention import Seen
from tokenjax.models.reduction import schedules
from tokenjax.models.reduction.predictors import (
    LOCAL_GLOBAL_LAYERS,
    LocalGlobalPredictor,
)
from tokenjax.models.reduction.prune import PruneTokens
from tokenjax.models.reduction.reducer import (
    EncoderFacts,
    Place,
    Reducer,
    Site,
    TorchLayer,
)
from tokenjax.models.reduction.token_set import Reduction, TokenSet
from tokenjax.ops.attention import MaskedSoftmax
from tokenjax.ops.masked_attention import policy_softmax

SMALLEST_WIDTH = 4  # of a token: the predictor's last layer but one has a quarter
_linear = functools.partial(
    layers.Linear,
    kernel_init=nn.initializers.normal(0.02),
    bias_init=nn.initializers.zeros,
)


class DynamicViT(Reducer):
    """Drops the patches that its predictors want least; see the module."""

    pruning_loc: Annotated[
        tuple[int, ...], COUNT, "the blocks before which patches go, from 0"
    ] = (3, 6, 9)
    token_ratio: Annotated[
        float | tuple[float, ...],
        PART,
        "share of the image's patches left at each, or one number for its powers",
    ] = (0.7, 0.49, 0.343)
    ratio_weight: Annotated[
        float, NOT_NEGATIVE, NOT_OF_WEIGHTS, "of the loss that holds to token_ratio"
    ] = 2.0
    execution: Execution = "gathered"
    site: ClassVar[Site] = "before"
    learns: ClassVar[bool] = True

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        return schedules.place_problems(self.pruning_loc, "pruning_loc")

    def marks(self) -> bool:
        """Return whether what is gone is only marked."""
        return self.execution == "masked"

    def masked_softmax(self) -> MaskedSoftmax:
        """Return the softmax under a policy."""
        return policy_softmax

    def amounts(self, encoder: EncoderFacts) -> Mapping[int, Any]:
        """Return (patches left at inference, their share of the image's) by block."""
        if encoder.width < SMALLEST_WIDTH:
            raise UserError(
                f"reduction: dynamicvit judges tokens of {SMALLEST_WIDTH} channels or "
                f"more, and the model's have {encoder.width}"
            )
        rates = schedules.rates_at_places(
            self.token_ratio, len(self.pruning_loc), "token_ratio"
        )
        if any(a < b for a, b in itertools.pairwise(rates)):
            raise UserError(
                f"reduction: token_ratio = {tuple(rates)} grows; each place leaves at "
                "most what it finds"
            )
        counts = [schedules.keep_of_image(rate, encoder.patches) for rate in rates]
        found = zip(counts, rates, strict=True)
        return dict(zip(self.pruning_loc, found, strict=True))

    def torch_layers(self, encoder: EncoderFacts) -> list[TorchLayer]:
        """Return the predictors', by the number of their place."""
        return [
            TorchLayer(
                place.block,
                kind,
                f"score_predictor.{place.number}.{key}",
                f"predictor/{name}",
            )
            for place in self.places(encoder).values()
            for kind, key, name in LOCAL_GLOBAL_LAYERS
        ]

    def start(self, token_set: TokenSet, train: bool) -> TokenSet:
        """Mark every token as there in training: its softmax is all blocks'."""
        if not train or not self.pruning_loc:
            return token_set
        return token_set.replace(keep=jnp.ones(token_set.tokens.shape[:2]))

    @nn.compact
    def __call__(
        self, token_set: TokenSet, seen: Seen, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Prune."""
        dtype = jnp.dtype(place.encoder.dtype)
        linear = functools.partial(_linear, dtype=dtype)
        count, share = place.amount
        prune = PruneTokens(
            LocalGlobalPredictor(linear, dtype, name="predictor"),
            count,
            share,
            learned=True,
            gathered=self.execution == "gathered",
            ranked=True,
            name="prune",
        )
        left, found = prune(token_set, seen, place, train)
        assert found.scores is not None
        loss = self.ratio_weight * found.losses["keep_ratio"]
        scores = jax.nn.log_sigmoid(found.scores)
        return left, found._replace(scores=scores, losses={"keep_ratio": loss})
