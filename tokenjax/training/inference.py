"""What a classifier makes of images: one program for evaluation and for prediction.

    images uint8 (b, h, w, c) -> prepared -> logits (b, classes), some of `aux`

Compiled alone, it computes the same bits wherever it runs on batches of one size: XLA
fuses a program as its outputs need it, and a loss or a ranking behind the same logits
would round them otherwise. Of `aux` it returns what an evaluation reads and no more:
the attention of every block would be far larger than all the rest.
"""

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from flax.typing import VariableDict
from jax.sharding import Mesh

from tokenjax import plots
from tokenjax.models import contract
from tokenjax.training.distribution import devices

Prepare: TypeAlias = Callable[[jax.Array], jax.Array]
Inferred: TypeAlias = tuple[jax.Array, dict[str, jax.Array]]
Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")  # a tree of arrays


def infer(
    model: contract.Model, prepare: Prepare, variables: VariableDict, images: jax.Array
) -> Inferred:
    """Return logits and what an evaluation reads of `aux`; to be jitted, alone."""
    logits, aux = model.apply(variables, prepare(images))
    return logits, {key: aux[key] for key in kept_keys(model, aux)}


def kept_keys(model: contract.Model, aux: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of `aux` that an evaluation reads."""
    if not isinstance(model, contract.RoutesPatches):
        return ()
    return tuple(key for key in contract.ROUTED if key in aux)


def look(
    model: contract.Model, prepare: Prepare, variables: VariableDict, images: jax.Array
) -> dict[str, jax.Array]:
    """Return "prediction", and what figures take of `aux`; to be jitted."""
    if isinstance(model, contract.Drawable):
        model = model.with_attention()
    logits, aux = model.apply(variables, prepare(images))
    return {"prediction": jnp.argmax(logits, -1), **plots.collect(aux, len(logits))}


def compile_inference(
    mesh: Mesh, function: Callable[[VariableDict, Any], Made]
) -> Callable[[VariableDict, Any], Made]:
    """Return (variables, inputs) -> outputs as `compile_alone` does.

    The variables may be in pieces, as with fsdp.
    """
    everywhere = devices.replicated(mesh)

    def call(variables: VariableDict, inputs: Any) -> Made:
        whole = jax.lax.with_sharding_constraint(variables, everywhere)
        return function(whole, inputs)

    return compile_alone(mesh, call)


def compile_alone(
    mesh: Mesh, function: Callable[Arguments, Made]
) -> Callable[Arguments, Made]:
    """Return the function jitted, its outputs whole on every device."""
    jitted = jax.jit(function, out_shardings=devices.replicated(mesh))
    return devices.under_mesh(mesh, jitted)
