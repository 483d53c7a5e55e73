"""What a classifier makes of images: one program for evaluation and for prediction.

    images uint8 (b, h, w, c) -> prepared -> logits (b, classes), some of `aux`

Compiled alone, it computes the same bits wherever it runs on batches of one size: XLA
fuses a program as its outputs need it, and a loss or a ranking behind the same logits
would round them otherwise. Of `aux` it returns what an evaluation reads and no more:
the attention of every block would be far larger than all the rest.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict
from jax.sharding import Mesh

from tokenjax import plots
from tokenjax.models import contract
from tokenjax.training.distribution import devices

Prepare: TypeAlias = Callable[[jax.Array], jax.Array]
Inferred: TypeAlias = tuple[jax.Array, dict[str, jax.Array]]
Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")  # a tree of arrays
Inputs = TypeVar("Inputs")  # likewise, of images
MOST_PLACES = 16  # along an image's longer side


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


def look_or_weigh(
    model: contract.Model, prepare: Prepare, variables: VariableDict, images: jax.Array
) -> dict[str, jax.Array]:
    """Return what `look` does; "input_gradient" too if no small picture shows that.

    It is what the predicted class's score changes with, see `weigh_places`.
    """
    found = look(model, prepare, variables, images)
    if plots.has_rows(found):
        return found

    def score(inputs: jax.Array) -> jax.Array:
        logits, _ = model.apply(variables, inputs)
        return jnp.take_along_axis(logits, found["prediction"][:, None], -1)

    return {**found, "input_gradient": weigh_places(score, prepare(images))}


def weigh_places(score: Callable[[Inputs], jax.Array], inputs: Inputs) -> Inputs:
    """Return how much each example's score changes with each place of its image.

    Args:
      score: images (n, h, w, c), or a tree of them, to numbers (n, ...).
      inputs: such images.

    Returns: (n, rows, columns), likewise; the mean over a place's pixels of the largest
    derivative among the channels.
    """
    gradient = jax.grad(lambda inputs: score(inputs).sum())(inputs)
    return jax.tree.map(_on_places, gradient)


def _on_places(gradient: jax.Array) -> jax.Array:
    strength = jnp.abs(gradient.astype(jnp.float32)).max(-1)  # (n, h, w)
    count, height, width = strength.shape
    side = max(1, max(height, width) // MOST_PLACES)  # pixels of a place
    rows, columns = height // side, width // side
    whole = strength[:, : rows * side, : columns * side]
    return whole.reshape(count, rows, side, columns, side).mean((2, 4))


def compile_few(
    mesh: Mesh,
    function: Callable[[VariableDict, Any], Mapping[str, Any]],
    batch: Mapping[str, np.ndarray],
) -> Callable[[VariableDict], dict[str, Any]]:
    """Return variables -> what the function makes of the same few examples.

    With several processes each must have the whole batch, and all of them call it.

    Args:
      mesh: over which rows are split; what is too few is filled up.
      function: (variables, batch) to arrays, or trees of them, by name, of which
        `plots.image_axis` says where the examples lie; to be jitted.
      batch: (n, ...) by name.
    """
    count = len(next(iter(batch.values())))
    rows = -(-count // mesh.size) * mesh.size
    indices = np.minimum(np.arange(rows), count - 1)
    sharding = devices.split_by_rows(mesh)
    own = indices[devices.own_rows(sharding, rows)]
    whole = {key: array[own] for key, array in batch.items()}
    placed = devices.put_batch(whole, sharding, rows)
    compiled = compile_inference(mesh, function)

    def call(variables: VariableDict) -> dict[str, Any]:
        found = jax.device_get(compiled(variables, placed))
        cut = {}
        for key, arrays in found.items():
            take = functools.partial(
                np.take, indices=np.arange(count), axis=plots.image_axis(key)
            )
            cut[key] = jax.tree.map(take, arrays)
        return cut

    return call


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
