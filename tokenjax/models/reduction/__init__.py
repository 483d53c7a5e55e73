"""Token reduction: methods that leave fewer tokens to the blocks that follow.

See `reducer` for what a method is, `methods` for their names, `token_set` for what they
take and give.
"""

from tokenjax.models.reduction.ats import ATS
from tokenjax.models.reduction.diffrate import DiffRate
from tokenjax.models.reduction.dynamicvit import DynamicViT
from tokenjax.models.reduction.evit import EViT, TopK
from tokenjax.models.reduction.learned import (
    MayLearnToPrune,
    kept_shares,
    predictor_group,
)
from tokenjax.models.reduction.methods import (
    ReductionName,
    TakesReduction,
    build,
    names,
    register,
)
from tokenjax.models.reduction.pitome import PiToMe
from tokenjax.models.reduction.predictors import LinearPredictor, LocalGlobalPredictor
from tokenjax.models.reduction.prune import PruneTokens, Pruning
from tokenjax.models.reduction.reducer import EncoderFacts, Place, Reducer
from tokenjax.models.reduction.tofu import ToFu
from tokenjax.models.reduction.token_set import (
    Reduction,
    TokenSet,
    merge_set,
    select_patches,
    select_set,
)
from tokenjax.models.reduction.tome import ToMe

__all__ = [
    "EncoderFacts",
    "LinearPredictor",
    "LocalGlobalPredictor",
    "MayLearnToPrune",
    "Place",
    "PruneTokens",
    "Pruning",
    "Reducer",
    "Reduction",
    "ReductionName",
    "TakesReduction",
    "TokenSet",
    "build",
    "kept_shares",
    "merge_set",
    "names",
    "predictor_group",
    "register",
    "select_patches",
    "select_set",
]

register("ats", ATS)
register("diffrate", DiffRate)
register("dynamicvit", DynamicViT)
register("evit", EViT)
register("pitome", PiToMe)
register("tofu", ToFu)
register("tome", ToMe)
register("topk", TopK)
