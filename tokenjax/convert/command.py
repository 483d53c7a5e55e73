"""A file of published weights to variables, and to what is known of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from tokenjax import models
from tokenjax.card import Card
from tokenjax.convert import directories, facts, grids, layouts, pretrained
from tokenjax.convert.checkpoint_files import list_files, read_state_dict
from tokenjax.convert.facts import NOTHING, Facts, Preprocessing
from tokenjax.convert.mapping import as_arrays
from tokenjax.convert.model_arguments import Resolved, resolve
from tokenjax.convert.reading import read_arguments
from tokenjax.convert.unwrapping import without_likely_prefix
from tokenjax.errors import ConversionError
from tokenjax.models import contract, patch_grid
from tokenjax.models.position_embedding import Grid, Method
from tokenjax.models.registry import MODELS


class Converted(NamedTuple):
    """Variables, what is known of them, and lines that tell what was done."""

    variables: dict[str, Any]
    facts: Facts
    card: Card
    lines: tuple[str, ...]


def convert(
    name: str,
    checkpoint: str,
    given: Mapping[str, Any],
    source_grid: Grid | None = None,
    method: Method | None = None,
    head: pretrained.Head = "keep",
    preprocessing: Preprocessing = NOTHING,
    key: str | None = None,
) -> Converted:
    """Convert a file, or the weights in a directory, for a model by name.

    Args:
      name: of the model.
      checkpoint: path of the file or directory.
      given: arguments of the model.
      source_grid, method, head: see `pretrained.load`.
      preprocessing: what the user says of pictures and classes.
      key: which of several states in the file, see `read_state_dict`.

    Raises: UserError for a file or arguments that do not fit.
    """
    module_class = MODELS[name].module_class
    files = list_files(checkpoint)
    whole = as_arrays(read_state_dict(checkpoint, key))
    raw = without_likely_prefix(name, whole)
    beside, program = directories.read_beside(files[0]), layouts.program_of(raw)
    arrays = layouts.rename(module_class, raw)
    distils = given.get("distilled", "distilled" in models.argument_names(name))
    seen = arrays if distils else pretrained.without_distillation(arrays)
    told, presumed = beside.arguments, program.arguments
    said = source_grid or _grid_of(told, read_arguments(module_class, seen))
    resolved = resolve(name, given, told, presumed, seen, said)
    model = models.create(name, **resolved.arguments)
    if source_grid and not isinstance(model, contract.KnowsPlaces):
        raise ConversionError(f"--source_grid: no weight of {name} depends on a grid")
    if said is None and not program.squares:
        grids.refuse_unknown(model)
    arrays = pretrained.rename(model, whole)
    by = method or program.resizes_by
    loaded = pretrained.load(model, arrays, jax.random.key(0), said, by, head)
    known = beside.preprocessing
    if head == "new":  # of classes that the file does not know
        known = known._replace(classes=None)
    found = Facts(
        model=name,
        arguments=resolved.arguments,
        assumed=resolved.assumed,
        preprocessing=preprocessing.or_else(known),
        image=facts.image_of(model),
        grid=grids.patch_grid(model),
        source_grid=grids.file_grid(model, seen, said),
        file=files[0].name,
        sha256=facts.hash_files(files),
    )
    complete = {**models.defaults(name), **resolved.arguments}
    facts.check(found, complete.get("num_classes"))
    square = None if said else found.source_grid
    lines = (*_lines(resolved, square), *beside.notes, *loaded.notes)
    card = found.as_card(models.values(model))
    return Converted(loaded.variables, found, card, lines)


def _grid_of(told: Mapping[str, Any], shapes: Mapping[str, Any]) -> Grid | None:
    """Return the grid of patches that the file's directory tells, with its shapes."""
    if "img_size" not in told or "patch_size" not in shapes:
        return None
    height, width = patch_grid.pair(told["img_size"])
    patch = shapes["patch_size"]
    return height // patch, width // patch


def _lines(resolved: Resolved, grid: Grid | None) -> list[str]:
    """Return what the file told, and what it did not."""
    lines = []
    if resolved.read:
        lines.append(f"told by the file: {_listed(resolved.read)}")
    assumed = [_listed(resolved.assumed)] if resolved.assumed else []
    if grid:
        assumed.append(
            f"a square grid of {grid[0]} x {grid[1]} patches (--source_grid)"
        )
    if assumed:
        lines.append(
            f"the file does not say, so it is taken for: {', '.join(assumed)}; "
            "--model.ARGUMENT=VALUE sets another"
        )
    return lines


def _listed(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items())
