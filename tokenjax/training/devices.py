"""The device mesh: state replicated, batches split over the axis "data"."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from tokenjax.errors import UserError
from tokenjax.training.settings import Settings


def make_mesh(settings: Settings) -> Mesh:
    """All devices of all processes on one axis, "data".

    Raises: UserError if the batch does not divide over them.
    """
    devices, parts = jax.device_count(), settings.gradient_accumulation
    if settings.batch_size % (devices * parts):
        raise UserError(
            f"batch_size {settings.batch_size} does not divide by {devices} devices x "
            f"{parts} gradient_accumulation; "
            f"a multiple of {devices * parts} would"
        )
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole."""
    return NamedSharding(mesh, PartitionSpec())


def split_by_rows(mesh: Mesh) -> NamedSharding:
    """Every device holds its rows of the leading axis."""
    return NamedSharding(mesh, PartitionSpec("data"))


def under_mesh(mesh: Mesh, function: Callable) -> Callable:
    """The jitted function, traced where operations see the mesh.

    `tokenjax.ops.dispatch` then lets each device pack its own rows.
    """

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with jax.set_mesh(mesh):
            return function(*arguments)

    return call


def put_batch(batch: dict[str, np.ndarray], sharding: NamedSharding) -> dict[str, Any]:
    """Host arrays of the global batch to devices; each process places its own rows."""
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    return {
        key: jax.make_array_from_callback(
            array.shape, sharding, lambda index, array=array: array[index]
        )
        for key, array in batch.items()
    }
