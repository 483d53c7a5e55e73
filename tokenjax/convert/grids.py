"""Positions of a file, on the grid of the model that takes them.

A file holds as many rows as its grid has places, not the grid: 64 rows may be of 8 x 8
or of 16 x 4. Published networks saw square images, so a square number of rows is taken
for a square unless a grid is given; another number is of the grid that is given, or of
none that is known.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import flax.linen as nn
import numpy as np

from tokenjax.convert.tables import table_for
from tokenjax.errors import ConversionError
from tokenjax.models import contract
from tokenjax.models.baselines.swin import SwinTransformer
from tokenjax.models.position_embedding import Grid, Method, Places, fit
from tokenjax.models.vdpa import VDPA

Arrays = dict[str, np.ndarray]


class Fitted(NamedTuple):
    """Arrays for a model, and a sentence about each thing that was done to them."""

    arrays: Arrays
    notes: tuple[str, ...] = ()


class _Embedding(NamedTuple):
    """An array of the file that has a row for each of some places."""

    path: str  # in the model's variables
    key: str
    array: np.ndarray
    wanted: Places  # the model's layout

    def square(self) -> Places | None:
        """Return the square that its rows are of, None if they are of no square."""
        count = self.array.shape[-2] - self.wanted.before - self.wanted.after
        side = math.isqrt(max(count, 0))
        if side < 1 or side * side != count:
            return None
        return self.wanted._replace(rows=side, columns=side)


def fit_positions(
    model: nn.Module,
    arrays: Arrays,
    source_grid: Grid | None = None,
    method: Method | None = None,
    sure: bool = True,
) -> Fitted:
    """Return the arrays with every position embedding of the model's grid.

    What is no position embedding of any grid stays as it is, for the table to refuse.

    Args:
      model: that takes them.
      arrays: under the keys of its table.
      source_grid: of patches in the file; None: see the module.
      method: to resize by; None: the one that the model says.
      sure: whether to refuse a number of rows that is no square one; else it is taken
        for the model's own grid if that has as many.

    Raises: ConversionError if the given grid has another number of places, or a grid is
      needed and not given.
    """
    if not isinstance(model, contract.KnowsPlaces):
        return Fitted(arrays)
    source = _source_places(model, source_grid) if source_grid else {}
    fitted, notes = dict(arrays), []
    for each in _embeddings(model, arrays):
        rows = each.array.shape[-2]
        wanted = each.wanted._replace(method=method or each.wanted.method)
        found = source.get(each.path) or each.square()
        if source and (found is None or found.length != rows):
            raise ConversionError(
                f"{each.key} is {each.array.shape}: not of a grid of "
                f"{_told(source_grid)} patches"
            )
        if found is None and rows == wanted.length:
            if sure:
                raise ConversionError(_unknown(model, each))
            notes.append(f"{each.key}: taken for the model's own {_told(wanted.grid)}")
        if found is None or found.grid == wanted.grid:
            continue
        fitted[each.key] = fit(each.array.astype(np.float32), found, wanted)
        fitted |= _buffers(model, arrays, found.grid)
        notes.append(
            f"{each.key}: resized from {_told(found.grid)} to {_told(wanted.grid)} "
            f"({wanted.method})"
        )
    return Fitted(fitted, tuple(_once(notes)))


def file_grid(
    model: nn.Module, arrays: Arrays, source_grid: Grid | None
) -> Grid | None:
    """Return the grid of patches that the arrays are taken for, None if not known."""
    if source_grid or patch_grid(model) is None:
        return source_grid
    squares = (each.square() for each in _embeddings(model, arrays))
    return next((square.grid for square in squares if square), None)


def patch_grid(model: nn.Module) -> Grid | None:
    """Return the grid of a model's patches, None where no weight depends on it."""
    if not isinstance(model, contract.KnowsPlaces):
        return None
    if isinstance(model, SwinTransformer):  # its tables are of windows
        return None
    return next(iter(model.places().values())).grid


def _embeddings(model: nn.Module, arrays: Arrays) -> Iterator[_Embedding]:
    """Yield what of the arrays the model has on a grid."""
    assert isinstance(model, contract.KnowsPlaces)
    keys = {"/".join(entry.path): entry.torch_key for entry in table_for(model).entries}
    for path, wanted in model.places().items():
        array = arrays.get(keys[path], np.empty(0))
        if array.ndim >= 2 and np.issubdtype(array.dtype, np.floating):
            yield _Embedding(path, keys[path], array, wanted)


def _source_places(model: contract.KnowsPlaces, grid: Grid) -> Mapping[str, Places]:
    """Return the layouts that the model has on another grid of patches."""
    if isinstance(model, SwinTransformer):
        height, width = (patches * model.patch_size for patches in grid)
        return model.clone(img_size=(height, width)).places()
    rows, columns = grid
    return {
        path: places._replace(rows=rows, columns=columns)
        for path, places in model.places().items()
    }


def _buffers(model: nn.Module, arrays: Arrays, grid: Grid) -> Arrays:
    """Return the model's buffers for those that the file has of its own grid."""
    if not isinstance(model, VDPA) or grid[0] != grid[1]:
        return {}
    source = model.clone(img_size=grid[0] * model.patch_size)
    theirs, ours = table_for(source).buffers, table_for(model).buffers
    return {
        key: ours[key]
        for key, buffer in theirs.items()
        if key in arrays and np.array_equal(arrays[key], buffer)
    }


def _unknown(model: nn.Module, embedding: _Embedding) -> str:
    """Return the sentence for rows that may be of more than one grid."""
    key, shape, grid = embedding.key, embedding.array.shape, embedding.wanted.grid
    hint = "ROWSxCOLUMNS"
    if not isinstance(model, SwinTransformer):
        hint = f"{grid[0]}x{grid[1]} if it is this model's, {_told(grid)}"
    return (
        f"the file does not say which grid of patches {key} {shape} is of, and it is "
        f"no square: give --source_grid={hint}"
    )


def refuse_unknown(model: nn.Module) -> None:
    """Refuse a file of images that are no squares, if a grid matters to the model.

    Raises: ConversionError.
    """
    grid = patch_grid(model)
    if grid is not None:
        raise ConversionError(
            "the file is of a program whose images are no squares, and does not say "
            "which grid its patches are of: give --source_grid="
            f"{grid[0]}x{grid[1]} if it is this model's, {_told(grid)}"
        )


def _told(grid: Grid | None) -> str:
    return " x ".join(map(str, grid or ()))


def _once(notes: list[str]) -> list[str]:
    """Return one of those that say the same of several blocks, with their number."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kinds.setdefault(note.partition(": ")[2], []).append(note)
    return [
        same[0] if len(same) == 1 else f"{same[0]}, and {len(same) - 1} more alike"
        for same in kinds.values()
    ]
