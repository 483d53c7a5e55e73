"""Mapping of a PyTorch state_dict to Flax variables and back, by a table of keys.

A table says for every PyTorch key where it goes and how its axes turn. It is checked
whole before anything is raised, so that one error names every key at fault.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.convert.key_prefixes import Rename, unwrap_keys
from tokenjax.errors import ConversionError, first_line

Path = tuple[str, ...]
_NUMPYS = ("torch.float16", "torch.float32", "torch.float64")  # its floating types


@dataclasses.dataclass(frozen=True)
class Layout:
    """Turn of an array's axes between PyTorch and Flax, both ways."""

    to_flax: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]


SAME = Layout(lambda array: array, lambda array: array)
LINEAR = Layout(np.transpose, np.transpose)  # (out, in) <-> (in, out)
CONVOLUTION = Layout(  # (out, in, height, width) <-> (height, width, in, out)
    lambda array: array.transpose(2, 3, 1, 0),
    lambda array: array.transpose(3, 2, 0, 1),
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One parameter: its PyTorch key, its path in the variables, its layout.

    Several keys may share one stacked array, each with its own `part` of it.
    """

    torch_key: str
    path: Path  # starts with the collection: ("params", "head", "kernel")
    layout: Layout = SAME
    part: tuple[int | slice, ...] = ()  # indices into the array; (): all of it

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return a view of this entry's part of the whole array."""
        return array[(*self.part, ...)]


@dataclasses.dataclass(frozen=True)
class Table:
    """Keys that a state_dict of one model holds: parameters, and buffers Flax lacks."""

    entries: tuple[Entry, ...]
    buffers: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def counters(self) -> list[str]:
        """Keys of PyTorch's counts of batches, one per batch norm; nothing reads them.

        Taken at any value, or missing as before PyTorch 0.4.1; given back as 0.
        """
        ending = ".running_mean"
        keys = [entry.torch_key for entry in self.entries]
        means = [key.removesuffix(ending) for key in keys if key.endswith(ending)]
        return [f"{prefix}.num_batches_tracked" for prefix in means]


def linear(torch_prefix: str, path: Path) -> list[Entry]:
    """Return the entries of `torch.nn.Linear`: weight and bias."""
    return [
        Entry(f"{torch_prefix}.weight", (*path, "kernel"), LINEAR),
        Entry(f"{torch_prefix}.bias", (*path, "bias")),
    ]


def convolution(torch_prefix: str, path: Path) -> list[Entry]:
    """Return the entries of `torch.nn.Conv2d`: weight and bias."""
    return [
        Entry(f"{torch_prefix}.weight", (*path, "kernel"), CONVOLUTION),
        Entry(f"{torch_prefix}.bias", (*path, "bias")),
    ]


def norm(torch_prefix: str, path: Path) -> list[Entry]:
    """Return the entries of `torch.nn.LayerNorm`: weight and bias."""
    return [
        Entry(f"{torch_prefix}.weight", (*path, "scale")),
        Entry(f"{torch_prefix}.bias", (*path, "bias")),
    ]


def batch_norm(torch_prefix: str, path: Path) -> list[Entry]:
    """Return the entries of `torch.nn.BatchNorm`; `path` is its parameters'.

    Its counter needs no entry: see `Table.counters`.
    """
    statistics = ("batch_stats", *path[1:])
    return [
        *norm(torch_prefix, path),
        Entry(f"{torch_prefix}.running_mean", (*statistics, "mean")),
        Entry(f"{torch_prefix}.running_var", (*statistics, "var")),
    ]


def attention(torch_prefix: str, path: Path) -> list[Entry]:
    """Return the entries of `torch.nn.MultiheadAttention`.

    Queries, keys and values are packed in one matrix.
    """
    return [
        Entry(f"{torch_prefix}.in_proj_weight", (*path, "in_proj", "kernel"), LINEAR),
        Entry(f"{torch_prefix}.in_proj_bias", (*path, "in_proj", "bias")),
        *linear(f"{torch_prefix}.out_proj", (*path, "out_proj")),
    ]


def mlp(torch_prefix: str, path: Path) -> list[Entry]:
    """Return the entries of two linear layers that timm calls fc1 and fc2."""
    return [
        entry
        for layer in ("fc1", "fc2")
        for entry in linear(f"{torch_prefix}.{layer}", (*path, layer))
    ]


def apply_table(
    table: Table, model: nn.Module, state_dict: Mapping[str, Any]
) -> dict[str, Any]:
    """Convert a state_dict to Flax variables by a table.

    Raises: ConversionError that lists all missing, unexpected and misshapen keys, and
    those that hold NaN or infinite numbers.
    """
    shapes = _flax_shapes(table, model)
    known = {entry.torch_key for entry in table.entries} | set(table.buffers)
    arrays = unwrap(table, as_arrays(state_dict))
    problems = [f"missing: {key}" for key in sorted(known - set(arrays))]
    problems += [
        f"unexpected: {key} {arrays[key].shape}"
        for key in sorted(set(arrays) - known - set(table.counters))
    ]
    for key, buffer in table.buffers.items():
        if key in arrays and not np.array_equal(arrays[key], buffer):
            given, wanted = arrays[key], buffer
            problems.append(
                f"wrong buffer: {key} {given.shape}, this model's is {wanted.shape}"
                + (" with other values" if given.shape == wanted.shape else "")
            )
    variables: dict[Path, np.ndarray] = {}
    for entry in table.entries:
        if entry.torch_key not in arrays:
            continue
        array, shape = arrays[entry.torch_key], shapes[entry.path]
        wanted_shape = _torch_shape(entry, shape)
        if not np.issubdtype(array.dtype, np.floating):
            problems.append(f"wrong type: {entry.torch_key} is {array.dtype}")
        elif array.shape != wanted_shape:
            problems.append(
                f"wrong shape: {entry.torch_key} is {array.shape}, "
                f"this model's is {wanted_shape}"
            )
        else:
            whole = variables.setdefault(entry.path, np.empty(shape, np.float32))
            with np.errstate(over="ignore"):  # of float64; told below
                entry.of(whole)[...] = entry.layout.to_flax(array)
            problems += _not_finite(entry.torch_key, array, entry.of(whole))
    if problems:
        raise ConversionError(
            f"the state_dict does not fit {type(model).__name__} "
            f"({len(problems)} keys at fault):\n  " + "\n  ".join(problems)
        )
    return flax.traverse_util.unflatten_dict(variables)


def shapes_by_key(table: Table, model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape that a state_dict of the model has under each key."""
    shapes = _flax_shapes(table, model)
    return {
        entry.torch_key: _torch_shape(entry, shapes[entry.path])
        for entry in table.entries
    }


def _torch_shape(entry: Entry, shape: tuple[int, ...]) -> tuple[int, ...]:
    return entry.layout.to_torch(entry.of(np.empty(shape))).shape


def _not_finite(key: str, array: np.ndarray, converted: np.ndarray) -> list[str]:
    """Return the sentence for weights that are NaN or infinite, if there are any."""
    bad = converted.size - int(np.isfinite(converted).sum())
    if not bad:
        return []
    if np.isfinite(array).all():
        return [f"too large for float32: {bad} of {converted.size} numbers of {key}"]
    return [f"not finite (NaN or infinite): {bad} of {converted.size} numbers of {key}"]


def invert_table(table: Table, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Convert Flax variables, or a gradient tree like them, to a state_dict.

    A tree without collections is taken as "params", and their keys alone come back.

    Raises: ConversionError that lists all missing and unexpected paths.
    """
    if not {entry.path[0] for entry in table.entries} & set(variables):
        variables = {"params": variables}
        parameters = [entry for entry in table.entries if entry.path[0] == "params"]
        table = dataclasses.replace(table, entries=tuple(parameters))
    flat = flax.traverse_util.flatten_dict(variables)
    known = {entry.path for entry in table.entries}
    problems = [f"missing: {'/'.join(path)}" for path in sorted(known - set(flat))]
    problems += [f"unexpected: {'/'.join(path)}" for path in sorted(set(flat) - known)]
    if problems:
        raise ConversionError(
            "the variables do not fit the model:\n  " + "\n  ".join(problems)
        )
    state_dict = {
        # Not ascontiguousarray: it makes a scalar an array of one entry.
        entry.torch_key: entry.layout.to_torch(
            entry.of(np.asarray(flat[entry.path]))
        ).copy()
        for entry in table.entries
    }
    state_dict |= {key: np.array(0, np.int64) for key in table.counters}
    return state_dict | {key: value.copy() for key, value in table.buffers.items()}


def _flax_shapes(table: Table, model: nn.Module) -> dict[Path, tuple[int, ...]]:
    """Return shapes of the model's variables; the table covers each exactly once."""
    inputs = model.example_inputs(1)
    tree = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    flat = flax.traverse_util.flatten_dict(tree)
    sizes: dict[Path, int] = {}
    for entry in table.entries:
        if entry.path not in flat:
            sizes[entry.path] = -1
            continue
        shape = flat[entry.path].shape
        sizes[entry.path] = sizes.get(entry.path, 0) + entry.of(np.empty(shape)).size
    actual = {path: leaf.size for path, leaf in flat.items()}
    if sizes != actual:
        difference = {path for path, _ in sizes.items() ^ actual.items()}
        raise AssertionError(f"the table and the model disagree on {difference}")
    return {path: leaf.shape for path, leaf in flat.items()}


def unwrap(
    table: Table,
    arrays: dict[str, np.ndarray],
    rename: Rename = dict,
    optional: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """Take wrappers' names off the keys of arrays, as far as the table's keys say.

    Args:
      rename: what the caller will do with the result, to turn another library's keys
        into the table's.
      optional: keys that the arrays need not have.

    Raises: ConversionError for weights that are there twice.
    """
    parameters = {entry.torch_key for entry in table.entries}
    known = parameters | set(table.buffers) | set(table.counters)
    return unwrap_keys(arrays, parameters - set(optional), known, rename)


def as_arrays(state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Turn a state_dict's values into numpy arrays; leave its keys as they are.

    Raises: ConversionError for what is no ordinary tensor.
    """
    return {key: _to_numpy(key, value) for key, value in state_dict.items()}


def _to_numpy(key: str, value: object) -> np.ndarray:
    try:
        if hasattr(value, "detach"):  # a torch tensor, without importing torch
            tensor = value.detach().cpu()
            unknown = str(tensor.dtype) not in _NUMPYS and tensor.is_floating_point()
            value = (tensor.float() if unknown else tensor).numpy()
        array = np.asarray(value)
    except Exception as error:  # sparse, quantised or without data: torch names it
        raise ConversionError(
            f"{key} is no ordinary tensor: {first_line(error)}"
        ) from error
    # bfloat16 and those of 8 bits: numpy does not count them among its floating types
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    is_numpys = np.issubdtype(array.dtype, np.floating)
    return array.astype(np.float32) if is_float and not is_numpys else array
