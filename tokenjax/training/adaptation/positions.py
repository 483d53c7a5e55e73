"""Arrays laid out on a grid, resized where the grid is another.

By the grid, never by the number of places: 16 x 4 is not 8 x 8.
"""

from typing import TypeAlias

import numpy as np

from tokenjax.models import contract
from tokenjax.models.contract import Places
from tokenjax.training.adaptation.paths import Arrays

Grid: TypeAlias = tuple[int, int]  # rows and columns
Resizing: TypeAlias = tuple[Grid, Grid]  # from one to another


def fit_positions(
    given: Arrays, source: contract.Model, model: contract.Model
) -> tuple[Arrays, list[str]]:
    """Return arrays with rows for the model's places, and which grids were resized.

    Args:
      given: the weights, by path.
      source: the model that they are of.
      model: that they are for.
    """
    if not isinstance(source, contract.KnowsPlaces):
        return given, []
    if not isinstance(model, contract.KnowsPlaces):
        return given, []
    theirs, resized = source.places(), dict(given)
    grids: set[Resizing] = set()
    for path, wanted in model.places().items():
        found = theirs.get(path)
        if found is None or path not in given or found.grid == wanted.grid:
            continue
        if (found.before, found.after) != (wanted.before, wanted.after):
            continue  # a row that is of no place is missing: told by its shape
        resized[path] = wanted.fit(given[path], found)
        grids.add((found.grid, wanted.grid))
    return resized, _tell("positions", grids)


def fit_maps(
    given: Arrays, own: Arrays, maps: frozenset[str]
) -> tuple[Arrays, list[str]]:
    """Return arrays that are maps of the model's size, and which were resized.

    Args:
      given: the weights, by path.
      own: a new model's variables, by path.
      maps: paths of arrays (..., rows, columns).
    """
    resized = dict(given)
    grids: set[Resizing] = set()
    for path in maps & given.keys():
        array, wanted = given[path], own[path].shape
        if array.shape[:-2] != wanted[:-2] or array.shape == wanted:
            continue
        there, here = (Places(*size[-2:], before=0) for size in (array.shape, wanted))
        rows = np.asarray(array).reshape(*wanted[:-2], there.length, 1)
        method = here._replace(method="bicubic")
        resized[path] = method.fit(rows, there).reshape(wanted)
        grids.add((there.grid, here.grid))
    return resized, _tell("tables of offsets", grids)


def _tell(what: str, grids: set[Resizing]) -> list[str]:
    told = ", ".join(
        f"{before[0]}x{before[1]} to {after[0]}x{after[1]}"
        for before, after in sorted(grids)
    )
    return [f"{what} resized from {told}"] if told else []
