"""DynamicViT: a vision transformer that drops the patches it does not need.

    predictor="local_global"   before the blocks `stages`, a network judges every token;
                               stage s leaves keep_ratio^s of the patches (Rao et al.)
    predictor="linear"         after every block but the last, a linear score; block i
                               leaves keep_rate[i] of the tokens that came (CIFAR-ViT)

    pruning="learned"     training: drawn decisions, dropped tokens masked out of the
                          attention; inference: the best are gathered, time is saved
    pruning="inference"   the best are gathered in training too: the predictors receive
                          no gradient (what CIFAR-ViT does with inference_mode=True)
    pruning="none"        nothing is dropped (its inference_mode=False)

Source: Rao et al. 2021 (arXiv 2106.02034); starkplus/CIFAR-ViT, DynamicViT.
Ours: "masked" execution at inference, to hold the gathered one against.
"""

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import (
    AT_INFERENCE,
    LARGEST_SIZE,
    NOT_NEGATIVE,
    NOT_OF_WEIGHTS,
    at_least,
    describe,
)
from tokenjax.models import contract, reduction
from tokenjax.models.argument_types import PART, Execution
from tokenjax.models.encoder import Encoded
from tokenjax.models.layers import Aux
from tokenjax.models.reduction import TakesReduction
from tokenjax.models.reduction.reducer import Method
from tokenjax.models.transformer import Transformer
from tokenjax.models.vit import VisionTransformer


class DynamicViT(Transformer, TakesReduction):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux).

    `patch_dropout` acts with pruning="none" alone, so in a teacher's training; else the
    predictors choose what is left out.

    `aux` adds "keep_masks" (steps, b, p), 1 for the patches left after each step;
    "keep_scores", per step (b, m), the predictor's score of each token that came in
    (0 where nothing is pruned); and `aux["losses"]["keep_ratio"]`.
    """

    keep_rate: Annotated[
        tuple[float, ...] | None,
        PART,
        'with predictor="linear": what each block leaves of the tokens that came; '
        "None: max(0.5, 1 - 0.1 i)",
    ] = None
    predictor: Annotated[
        Literal["local_global", "linear"],
        "a network before some blocks, or a linear score after every one",
    ] = "local_global"
    pruning: Annotated[
        Literal["learned", "inference", "none"],
        AT_INFERENCE,
        "in training: drawn decisions, the best as at inference, or every patch",
    ] = "learned"
    stages: Annotated[
        tuple[int, ...] | None,
        at_least(1, LARGEST_SIZE),
        'with predictor="local_global": the blocks before which patches go; None: at '
        "quarters of the depth",
    ] = None
    keep_ratio: Annotated[
        float,
        PART,
        AT_INFERENCE,
        "what each stage leaves of the patches of the stage before",
    ] = 0.7
    ratio_weight: Annotated[
        float, NOT_NEGATIVE, NOT_OF_WEIGHTS, "of the loss that holds to keep_ratio"
    ] = 2.0
    execution: Execution = "gathered"

    def problems(self) -> list[tuple[bool, str]]:
        """Return what does not fit together, see `Transformer`."""
        stages, rates = self.stages or (), self.keep_rate or ()
        ascending = all(a < b for a, b in itertools.pairwise(stages))
        return [
            *super().problems(),
            (
                bool(rates) and len(rates) < self.depth - 1,
                f"keep_rate needs a rate for each of {self.depth} blocks, "
                f"got {len(rates)}",
            ),
            (
                not all(stage < self.depth for stage in stages) or not ascending,
                f"stages must be ascending blocks within 1..{self.depth - 1}, "
                f"got {stages}",
            ),
            (
                bool(rates) and self.predictor != "linear",
                'keep_rate belongs to predictor="linear"; local_global prunes by '
                "stages and keep_ratio",
            ),
            (
                bool(stages) and self.predictor != "local_global",
                'stages belong to predictor="local_global"; linear prunes by keep_rate',
            ),
            (
                self.reduction is not None and self.pruning != "none",
                'its predictors drop tokens: another reduction needs pruning="none"',
            ),
        ]

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        groups = dict(super().parameter_groups())
        groups |= reduction.predictor_group(self.written_reduction(), self.facts())
        if self.predictor == "linear" or self.steps():
            others = groups.get(contract.PREDICTORS, ())
            groups[contract.PREDICTORS] = ("predictors_*/**", *others)
        return groups

    def parameter_layers(self) -> contract.Layers:
        """Return the plain network's; the predictors go with the head, as new as it."""
        *layers, last = super().parameter_layers()
        return [*layers, (*last, "predictors_*/**")]

    def learns_to_prune(self) -> bool:
        """Return whether its predictors learn; see `contract.Prunes`."""
        return self.pruning != "inference"

    def unpruned_arguments(self) -> dict[str, object]:
        """Return what makes it the unpruned network; see `contract.Prunes`."""
        return {"pruning": "none"}

    @nn.nowrap
    def unpruned(self) -> contract.Model:
        """Return the same network, which keeps every token."""
        return self.clone(pruning="none")

    def idle_unpruned(self) -> tuple[str, ...]:
        """Return what says how tokens are pruned; see `contract.Prunes`."""
        return "keep_rate", "predictor", "stages", "keep_ratio"

    def keep_masks(self, aux: Mapping[str, Any]) -> jax.Array:
        """Return "keep_masks"; see `contract.Prunes`."""
        masks: jax.Array = aux["keep_masks"]
        return masks

    @nn.nowrap
    def plain(self) -> contract.Model:
        """Return the plain transformer; see `contract.Prunes`."""
        shared = describe(Transformer)
        return VisionTransformer(**{name: getattr(self, name) for name in shared})

    def patches_left_out(self) -> float:
        """Return `patch_dropout` where nothing is pruned."""
        return self.patch_dropout if self.pruning == "none" else 0.0

    def steps(self) -> dict[int, tuple[int, float]]:
        """Return block after which tokens go -> (tokens left, share of all patches).

        Counts are truncated products of doubles, as in the originals.
        """
        total = self.num_patches
        if self.predictor == "local_global":
            quarters = dict.fromkeys(self.depth * i // 4 for i in (1, 2, 3))
            stages = self.stages
            if stages is None:
                stages = tuple(stage for stage in quarters if stage > 0)
            shares = [self.keep_ratio**step for step in range(1, len(stages) + 1)]
            return {
                stage - 1: (max(1, int(total * share)), share)
                for stage, share in zip(stages, shares, strict=True)
            }
        rates = self.keep_rate or [max(0.5, 1 - 0.1 * i) for i in range(self.depth)]
        found, count = {}, total
        for index in range(self.depth - 1):
            count = max(1, int(count * rates[index]))
            found[index] = (count, count / total)
        return found

    def method(self) -> Method | None:
        """Return what prunes after the blocks of `steps`; call it inside compact."""
        predictors = self._predictors()
        if self.is_initializing():  # each has parameters, used or not
            for predictor in predictors.values():
                predictor(jnp.zeros((1, 1, self.embed_dim)), None)
        if self.pruning == "none":
            return self.written_reduction()
        prunes = {
            index + 1: reduction.PruneTokens(
                predictors[index],
                count,
                share,
                learned=self.pruning == "learned",
                gathered=self.execution == "gathered",
                name=f"prune_{index}",
            )
            for index, (count, share) in self.steps().items()
        }
        return reduction.Pruning(prunes)

    def _predictors(self) -> dict[int, nn.Module]:
        """Return the predictor after each block that has one."""
        if self.predictor == "linear":
            return {
                index: reduction.LinearPredictor(
                    self.linear(), name=f"predictors_{index}"
                )
                for index in range(self.depth)
            }
        dtype = jnp.dtype(self.dtype)
        return {
            index: reduction.LocalGlobalPredictor(
                self.linear(), dtype, name=f"predictors_{number}"
            )
            for number, index in enumerate(self.steps())
        }

    def more_aux(self, encoded: Encoded) -> Aux:
        """Return masks, scores and the ratio loss."""
        batch = len(encoded.token_set.tokens)
        steps, total = len(self.steps()), self.num_patches
        done = [each for each in encoded.reductions if each is not None]
        losses = {"keep_ratio": jnp.zeros(())}
        if self.pruning == "none":
            scores = tuple(jnp.zeros((batch, total)) for _ in range(steps))
            masks = jnp.ones((steps, batch, total))
            losses |= encoded.losses()  # another reduction's
        elif not steps:  # one block alone, after which nothing goes
            scores, masks = (), jnp.ones((0, batch, total))
        else:
            masks = jnp.stack([each.more["mask"] for each in done])
            scores = tuple(each.scores for each in done)
            if self.pruning == "learned":
                losses["keep_ratio"] = (
                    self.ratio_weight * encoded.losses()["keep_ratio"]
                )
        return {"keep_masks": masks, "keep_scores": scores, "losses": losses}
