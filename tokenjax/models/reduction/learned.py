"""What a model owes to training whose method of reduction has parameters.

They are `contract.PREDICTORS`: the network without the method never asks them.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.models import contract
from tokenjax.models.reduction.methods import TakesReduction
from tokenjax.models.reduction.reducer import EncoderFacts, Reducer


def predictor_group(
    method: Reducer | None, encoder: EncoderFacts, prefix: str = ""
) -> dict[str, tuple[str, ...]]:
    """Return the group of a method's parameters, {} if it has none.

    `prefix`: of the encoder's parameters within the model's.
    """
    if method is None or not method.torch_layers(encoder):
        return {}
    return {contract.PREDICTORS: (f"{prefix}{method.parameters_of('*')}/**",)}


def kept_shares(
    method: Reducer | None, encoder: EncoderFacts, prefix: str = ""
) -> dict[str, float]:
    """Return what `contract.KeepsShares` asks for, of a method in an encoder.

    `prefix`: as above.
    """
    if method is None:
        return {}
    return {
        f"{prefix}{method.parameters_of(str(block))}/keep_rate": share
        for block, share in method.kept_shares(encoder).items()
    }


class MayLearnToPrune(TakesReduction):
    """A classifier with an argument `reduction`: `contract.Prunes` if that learns.

    Its parameters are those of the same class without a reduction, and the method's.
    """

    def learns_to_prune(self) -> bool:
        """Return whether its method does."""
        method = self.written_reduction()
        return method is not None and method.learns

    def unpruned_arguments(self) -> Mapping[str, object]:
        """Return what makes it the network without reduction."""
        return {"reduction": None}

    @nn.nowrap
    def unpruned(self) -> contract.Model:
        """Return the network without reduction."""
        return self.clone(reduction=None)

    def idle_unpruned(self) -> tuple[str, ...]:
        """Return that every other argument acts without reduction too."""
        return ()

    @nn.nowrap
    def plain(self) -> contract.Model:
        """Return the network without reduction, which is of this class."""
        return self.unpruned()

    def keep_masks(self, aux: Mapping[str, Any]) -> jax.Array:
        """Return (places, b, p), 1 for the patches left after each place."""
        done = [entry for entry in aux["reduction"] if entry is not None]
        return jnp.stack([entry["mask"] for entry in done])
