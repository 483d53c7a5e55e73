"""Arrays with a row for every place of a grid, resized where the grid is another.

By the grid, never by the number of places: 16 x 4 is not 8 x 8.
"""

from tokenjax.models import contract
from tokenjax.models.position_embedding import fit
from tokenjax.training.adaptation.paths import Arrays


def fit_positions(
    given: Arrays, source: contract.Model, model: contract.Model
) -> tuple[Arrays, list[str]]:
    """Return arrays laid out on the model's grids, and which grids were resized.

    Args:
      given: the weights, by path.
      source: the model that they are of.
      model: that they are for.
    """
    if not isinstance(source, contract.KnowsPlaces):
        return given, []
    if not isinstance(model, contract.KnowsPlaces):
        return given, []
    theirs, resized, grids = source.places(), dict(given), set()
    for path, wanted in model.places().items():
        found = theirs.get(path)
        if found is None or path not in given or found.grid == wanted.grid:
            continue
        if (found.before, found.after) != (wanted.before, wanted.after):
            continue  # a row that is of no place is missing: told by its shape
        resized[path] = fit(given[path], found, wanted)
        grids.add((found.grid, wanted.grid))
    told = ", ".join(
        f"{before[0]}x{before[1]} to {after[0]}x{after[1]}"
        for before, after in sorted(grids)
    )
    return resized, [f"positions resized from {told}"] if told else []
