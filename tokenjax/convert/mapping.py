"""From a PyTorch state_dict to Flax variables and back, by a table of keys.

A table says for every PyTorch key where it goes and how its axes turn. It is checked
whole before anything is raised, so that one error names every key at fault.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import numpy as np

from tokenjax.errors import ConversionError

Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How an array's axes turn between PyTorch and Flax, both ways."""

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
    """One parameter: its PyTorch key, its path in the variables, its layout."""

    torch_key: str
    path: Path  # starts with the collection: ("params", "head", "kernel")
    layout: Layout = SAME


@dataclasses.dataclass(frozen=True)
class Table:
    """What a state_dict of one model holds: parameters, and buffers Flax lacks."""

    entries: tuple[Entry, ...]
    buffers: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def linear(torch_prefix: str, path: Path) -> list[Entry]:
    """weight and bias of `torch.nn.Linear`."""
    return [
        Entry(f"{torch_prefix}.weight", (*path, "kernel"), LINEAR),
        Entry(f"{torch_prefix}.bias", (*path, "bias")),
    ]


def convolution(torch_prefix: str, path: Path) -> list[Entry]:
    """weight and bias of `torch.nn.Conv2d`."""
    return [
        Entry(f"{torch_prefix}.weight", (*path, "kernel"), CONVOLUTION),
        Entry(f"{torch_prefix}.bias", (*path, "bias")),
    ]


def norm(torch_prefix: str, path: Path) -> list[Entry]:
    """weight and bias of `torch.nn.LayerNorm`."""
    return [
        Entry(f"{torch_prefix}.weight", (*path, "scale")),
        Entry(f"{torch_prefix}.bias", (*path, "bias")),
    ]


def apply_table(
    table: Table, model: nn.Module, state_dict: Mapping[str, Any]
) -> dict[str, Any]:
    """Flax variables from a state_dict.

    Raises: ConversionError that lists all missing, unexpected and misshapen keys.
    """
    arrays = {_strip(key): _to_numpy(value) for key, value in state_dict.items()}
    shapes = _flax_shapes(table, model)
    known = {entry.torch_key for entry in table.entries} | set(table.buffers)
    problems = [f"missing: {key}" for key in sorted(known - set(arrays))]
    problems += [
        f"unexpected: {key} {arrays[key].shape}" for key in sorted(set(arrays) - known)
    ]
    for key, buffer in table.buffers.items():
        if key in arrays and not np.array_equal(arrays[key], buffer):
            given, wanted = arrays[key], buffer
            problems.append(
                f"wrong buffer: {key} {given.shape}, this model's is {wanted.shape}"
                + (" with other values" if given.shape == wanted.shape else "")
            )
    variables = {}
    for entry in table.entries:
        if entry.torch_key not in arrays:
            continue
        array, shape = arrays[entry.torch_key], shapes[entry.path]
        wanted_shape = entry.layout.to_torch(np.empty(shape)).shape
        if not np.issubdtype(array.dtype, np.floating):
            problems.append(f"wrong type: {entry.torch_key} is {array.dtype}")
        elif array.shape != wanted_shape:
            problems.append(
                f"wrong shape: {entry.torch_key} is {array.shape}, "
                f"this model's is {wanted_shape}"
            )
        else:
            turned = entry.layout.to_flax(array.astype(np.float32))
            variables[entry.path] = np.ascontiguousarray(turned).reshape(shape)
    if problems:
        raise ConversionError(
            f"the state_dict does not fit {type(model).__name__} "
            f"({len(problems)} keys at fault):\n  " + "\n  ".join(problems)
        )
    return flax.traverse_util.unflatten_dict(variables)


def invert_table(table: Table, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A state_dict from Flax variables, or the same layout from a gradient tree.

    A tree without collections is taken as "params".

    Raises: ConversionError that lists all missing and unexpected paths.
    """
    collections = {entry.path[0] for entry in table.entries}
    if not collections & set(variables):
        variables = {"params": variables}
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
        entry.torch_key: entry.layout.to_torch(np.asarray(flat[entry.path])).copy()
        for entry in table.entries
    }
    return state_dict | {key: value.copy() for key, value in table.buffers.items()}


def _flax_shapes(table: Table, model: nn.Module) -> dict[Path, tuple[int, ...]]:
    """Shapes of the model's variables; the table must name each exactly once."""
    inputs = model.example_inputs(1)
    tree = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    flat = flax.traverse_util.flatten_dict(tree)
    paths = [entry.path for entry in table.entries]
    if sorted(paths) != sorted(flat):
        difference = set(paths) ^ set(flat)
        raise AssertionError(f"the table and the model disagree on {difference}")
    return {path: leaf.shape for path, leaf in flat.items()}


def _strip(key: str) -> str:
    """Takes wrappers' prefixes off: DataParallel's "module.", trainers' "model."."""
    while key.startswith(("module.", "model.")):
        key = key.split(".", 1)[1]
    return key


def _to_numpy(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return np.asarray(value)
