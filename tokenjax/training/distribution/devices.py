"""The device mesh: batches split over the axis "data", the state whole or split too.

Whole is the default: every device holds all parameters. With `fsdp` each large array of
the parameters, their averages and the optimiser's state is cut along one of its axes,
a piece for every device; a step gathers the parameters for the loss, and each device
updates its own piece. The numbers are those of whole arrays but for rounding.
"""

import functools
import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from tokenjax.errors import UserError
from tokenjax.training.settings import Settings
from tokenjax.training.state import TrainState

Tree = TypeVar("Tree")  # of arrays
Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")
AXIS = "data"
SPLIT_FROM = 2**14  # elements: below, gathering costs more than the memory is worth


def make_mesh(settings: Settings) -> Mesh:
    """Return all devices of all processes on one axis, "data".

    Raises: UserError if the batch does not divide over them.
    """
    devices, parts = jax.device_count(), settings.gradient_accumulation
    if settings.batch_size % (devices * parts):
        raise UserError(
            f"batch_size {settings.batch_size} does not divide by {devices} devices x "
            f"{parts} gradient_accumulation; "
            f"a multiple of {devices * parts} would"
        )
    return jax.make_mesh((devices,), (AXIS,), axis_types=(AxisType.Auto,))


def own_mesh() -> Mesh:
    """Return the devices of this process alone."""
    own = jax.local_devices()
    return jax.make_mesh((len(own),), (AXIS,), (AxisType.Auto,), devices=own)


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Return the sharding where every device holds the whole."""
    return NamedSharding(mesh, PartitionSpec())


def split_by_rows(mesh: Mesh) -> NamedSharding:
    """Return the sharding where every device holds its rows of the leading axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def state_sharding(
    mesh: Mesh | AbstractMesh, state: TrainState, fsdp: bool
) -> TrainState:
    """Say where each array of a state lies: a tree like `state` of shardings.

    Args:
      mesh: of the run.
      state: arrays, or their shapes.
      fsdp: split what is large; see the module's docstring.
    """
    whole = replicated(mesh)
    everywhere: TrainState = jax.tree.map(lambda _: whole, state)
    if not fsdp:
        return everywhere

    def split(tree: Tree) -> Tree:
        return jax.tree.map(lambda leaf: _largest_axis_split(mesh, leaf.shape), tree)

    return everywhere.replace(  # type: ignore[attr-defined]
        params=split(state.params),
        opt_state=split(state.opt_state),
        ema_params=split(state.ema_params),
        frozen=split(state.frozen),
    )


def _largest_axis_split(
    mesh: Mesh | AbstractMesh, shape: tuple[int, ...]
) -> NamedSharding:
    """Cut along the largest axis that the devices divide; whole if small or none."""
    devices = mesh.shape[AXIS]
    axes = [axis for axis, size in enumerate(shape) if size % devices == 0]
    if math.prod(shape) < SPLIT_FROM or not axes:
        return replicated(mesh)
    largest = max(axes, key=lambda axis: shape[axis])
    return NamedSharding(mesh, PartitionSpec(*[None] * largest, AXIS))


def place(state: TrainState, sharding: TrainState) -> TrainState:
    """Put the state where `sharding` says; a part that lies elsewhere moves."""
    return jax.jit(lambda state: state, out_shardings=sharding, donate_argnums=0)(state)


def under_mesh(
    mesh: Mesh, function: Callable[Arguments, Returned]
) -> Callable[Arguments, Returned]:
    """Return the jitted function, traced where operations see the mesh.

    `tokenjax.ops.dispatch` then lets each device pack its own rows.
    """

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Returned:
        with jax.set_mesh(mesh):
            return function(*arguments, **named)

    return call


def own_rows(sharding: NamedSharding, batch_size: int) -> np.ndarray:
    """Return the numbers, ascending, of a batch's rows that these devices hold."""
    pieces = sharding.addressable_devices_indices_map((batch_size,)).values()
    bounds = {piece[0].indices(batch_size)[:2] for piece in pieces if piece is not None}
    return np.concatenate([np.arange(*bound) for bound in sorted(bounds)])


def put_batch(
    batch: dict[str, np.ndarray], sharding: NamedSharding, batch_size: int
) -> dict[str, jax.Array]:
    """Put the global batch on the devices, from this process's rows (`own_rows`)."""
    if sharding.is_fully_addressable:
        return jax.device_put(batch, sharding)
    return {
        key: jax.make_array_from_process_local_data(
            sharding, array, (batch_size, *array.shape[1:])
        )
        for key, array in batch.items()
    }


def on_own_devices(tree: Tree, mesh: Mesh, own: Mesh) -> Tree:
    """Return arrays of the mesh, each whole on this process's devices.

    With several processes all of them must call this.
    """
    if jax.process_count() == 1:
        return tree
    whole = jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(tree)
    here = jax.tree.map(lambda array: np.asarray(array.addressable_data(0)), whole)
    return jax.device_put(here, replicated(own))
