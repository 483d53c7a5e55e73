"""Exact conditional compute: a function runs on the selected rows alone.

    outputs[i] = function(operands, rows[i])   where selected[i], else 0

How many rows are selected is known only at run time, shapes must be known before it:
the selected rows of the whole batch are packed to the front, and `lax.switch` runs the
function on the smallest of a few capacities that holds them. No row is dropped, for
the last capacity is all rows; none is computed twice. What a call costs beyond its
selected rows is two gathers and the padding up to the capacity.

By default the platform that a program is lowered for decides on the capacities: on CPU
`default_capacities`, with a padding of less than 1/32 of all rows (or TILE rows) where
no more than half are selected, 1/16 above; elsewhere `accelerator_capacities`, five at
most, for there every product of every capacity is tuned when it is compiled; and where
choosing would take longer than all rows, all are computed and the others masked.

The gradient is that of the dense masked computation: of selected rows and of
`operands`, 0 for other rows, none for the selection itself. Packing and unpacking are
each other's transpose, so both directions gather and neither scatters (a scatter is a
serial loop on CPU).

Under a mesh that the caller has set (`jax.set_mesh`), with an axis "data", each device
packs its own share of the leading axis (`shard_map`), without a collective.

Keep the call out of `vmap`: a batched switch runs every branch.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

DATA_AXIS = "data"
TILE = 4  # rows
ACCELERATOR_TILE = 128  # rows: a product of fewer takes as long
ACCELERATOR_LEAST = 2 * 10**10  # multiply-adds: fewer take less than a choice

Operands = TypeVar("Operands")  # a tree of arrays
RowFunction = Callable[[Operands, jax.Array], jax.Array]


def default_capacities(num_rows: int) -> tuple[int, ...]:
    """Return ascending numbers of rows, from 0 to `num_rows`: 25 at most.

    Steps are of a thirty-second of the rows up to a half and of a sixteenth above: who
    selects little wants little padding, and each capacity is a program to compile. They
    are whole tiles of TILE rows, so that a small batch does not compile one for each.
    """
    parts = [*range(17), *range(18, 33, 2)]  # thirty-seconds
    tiles = {-(-num_rows * part // (32 * TILE)) for part in parts}
    return tuple(sorted({min(tile * TILE, num_rows) for tile in tiles}))


def accelerator_capacities(num_rows: int, row_cost: int) -> tuple[int, ...]:
    """Return ascending numbers of rows as `default_capacities` does, far fewer of them.

    0, an eighth, a quarter, a half and three quarters, each with a sixteenth to spare,
    and all rows, in whole tiles of ACCELERATOR_TILE rows. A router that was asked for a
    quarter sends a little more or less, which must not cost it a half.

    Only all, and nothing is packed, where they take less than ACCELERATOR_LEAST
    multiply-adds, at `row_cost` a row: a GPU asks the host which branch to take, and
    has computed them (in 60 us, an H100 in half precision) about as soon.
    """
    if num_rows * row_cost < ACCELERATOR_LEAST:
        return (num_rows,)
    parts = (0, 3, 5, 9, 13, 16)  # sixteenths
    tiles = {-(-num_rows * part // (16 * ACCELERATOR_TILE)) for part in parts}
    return tuple(sorted({min(tile * ACCELERATOR_TILE, num_rows) for tile in tiles}))


def apply_to_selected(
    function: RowFunction[Operands],
    operands: Operands,
    rows: jax.Array,
    selected: jax.Array,
    capacities: Sequence[int] | None = None,
) -> jax.Array:
    """Apply `function` to the selected rows alone; the others give 0.

    Args:
      function: (operands, (k, in)) -> (k, out) for any k; it must treat each row alone,
        and be finite, with its derivatives, on rows of zeros (the padding).
      operands: a tree of arrays that the function reads (parameters, a key); whatever
        it needs a gradient for comes in here.
      rows: (..., in), one or more leading axes, the first that which a mesh splits.
      selected: (...), true or not 0 where a row is selected; it receives no gradient.
      capacities: numbers of rows to choose from, each device's; all of its rows are
        always among them. None: `default_capacities` or `accelerator_capacities`.

    Returns: (..., out).

    Raises: ValueError for shapes that disagree and for capacities out of range.
    """
    if selected.shape != rows.shape[:-1] or selected.ndim < 1:
        raise ValueError(
            f"selected must be {rows.shape[:-1]} for rows {rows.shape}, "
            f"got {selected.shape}"
        )
    selected = jax.lax.stop_gradient(selected) != 0

    def local(operands: Operands, rows: jax.Array, selected: jax.Array) -> jax.Array:
        flat = rows.reshape(-1, rows.shape[-1])
        outputs = _dispatch(function, operands, flat, selected.ravel(), capacities)
        return outputs.reshape(*selected.shape, outputs.shape[-1])

    mesh = jax.sharding.get_abstract_mesh()
    shards = dict(mesh.shape).get(DATA_AXIS, 1)
    if shards == 1 or rows.shape[0] % shards:  # an odd batch is not split over devices
        return local(operands, rows, selected)
    split = PartitionSpec(DATA_AXIS)
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(PartitionSpec(), split, split),
        out_specs=split,
        check_vma=False,  # branches of the switch differ in what they vary over
    )(operands, rows, selected)


def shard_index() -> int | jax.Array:
    """Return the index of the device whose rows are worked on; 0 without a mesh.

    For use in a function that `apply_to_selected` runs.

    For random draws: fold it into the key, or all devices draw alike.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return jax.lax.axis_index(DATA_AXIS) if DATA_AXIS in mesh.manual_axes else 0


def _dispatch(
    function: RowFunction[Operands],
    operands: Operands,
    rows: jax.Array,
    selected: jax.Array,
    capacities: Sequence[int] | None,
) -> jax.Array:
    """Do `apply_to_selected` on one device: rows (n, in), selected (n,) -> (n, out)."""
    total = len(rows)
    outputs = jax.eval_shape(function, operands, rows)
    if outputs.shape[:-1] != (total,):
        raise ValueError(
            f"function must return ({total}, out) for {rows.shape}, got {outputs.shape}"
        )
    position = jnp.cumsum(selected) - 1  # (n,), where a selected row is packed
    source = jnp.nonzero(selected, size=total, fill_value=total)[0]  # (n,), its inverse
    count = position[-1] + 1 if total else 0

    def branch(size: int) -> RowFunction[Operands]:
        def run(operands: Operands, rows: jax.Array) -> jax.Array:
            if size == 0:
                return jnp.zeros(outputs.shape, outputs.dtype)
            here = source[:size]
            packed = function(operands, _pack(rows, here, position, selected))
            return _unpack(packed, here, position, selected)

        return run

    def switch(sizes: tuple[int, ...]) -> RowFunction[Operands]:
        def run(operands: Operands, rows: jax.Array) -> jax.Array:
            if sizes == (total,):
                return _keep(function(operands, _keep(rows, selected)), selected)
            smallest = jnp.sum(count > np.array(sizes))  # the first that holds them
            return jax.lax.switch(smallest, list(map(branch, sizes)), operands, rows)

        return run

    if capacities is not None:
        return switch(_checked(capacities, total))(operands, rows)
    row_cost = sum(leaf.size for leaf in jax.tree.leaves(operands))  # mostly weights
    return jax.lax.platform_dependent(
        operands,
        rows,
        cpu=switch(default_capacities(total)),
        default=switch(accelerator_capacities(total, row_cost)),
    )


def _checked(capacities: Sequence[int], total: int) -> tuple[int, ...]:
    """Return the capacities ascending, with 0 and all rows among them.

    Raises: ValueError.
    """
    if any(not 0 <= size <= total for size in capacities):
        raise ValueError(f"capacities must be within 0..{total}, got {capacities}")
    return tuple(sorted({0, *capacities, total}))


def _take(values: jax.Array, indices: jax.Array, valid: jax.Array) -> jax.Array:
    """Take values (m, d) at indices (k,), with zeros where not valid (k,)."""
    taken = jnp.take(values, indices, axis=0, mode="clip")  # (k, d)
    return _keep(taken, valid)


def _keep(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Put zeros into values (k, d) where not valid (k,)."""
    return jnp.where(valid[:, None], values, jnp.zeros((), values.dtype))


@jax.custom_vjp
def _pack(
    rows: jax.Array, source: jax.Array, position: jax.Array, selected: jax.Array
) -> jax.Array:
    """Pack selected rows (n, d) to the front in order, zeros after: (capacity, d)."""
    return _take(rows, source, source < len(rows))


@jax.custom_vjp
def _unpack(
    packed: jax.Array, source: jax.Array, position: jax.Array, selected: jax.Array
) -> jax.Array:
    """Put packed rows (capacity, d) back where they came from: (n, d)."""
    return _take(packed, position, selected)


_Places = tuple[jax.Array, ...]  # source, position, selected


def _pack_forward(rows: jax.Array, *places: jax.Array) -> tuple[jax.Array, _Places]:
    return _pack(rows, *places), places


def _pack_backward(places: _Places, cotangent: jax.Array) -> tuple:
    return _unpack(cotangent, *places), None, None, None


def _unpack_forward(packed: jax.Array, *places: jax.Array) -> tuple[jax.Array, _Places]:
    return _unpack(packed, *places), places


def _unpack_backward(places: _Places, cotangent: jax.Array) -> tuple:
    return _pack(cotangent, *places), None, None, None


_pack.defvjp(_pack_forward, _pack_backward)
_unpack.defvjp(_unpack_forward, _unpack_backward)
