"""A file of published weights to variables, and to what is known of them."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from tokenjax import models
from tokenjax.card import Card
from tokenjax.convert import directories, facts, grids, layouts, pretrained
from tokenjax.convert.checkpoint_files import read_state_dict
from tokenjax.convert.facts import Facts, Preprocessing
from tokenjax.convert.mapping import as_arrays
from tokenjax.convert.model_arguments import Resolved, resolve
from tokenjax.models.position_embedding import Grid
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
    head: pretrained.Head,
    source_grid: Grid | None,
    preprocessing: Preprocessing,
) -> Converted:
    """Convert a file, or the weights in a directory, for a model by name.

    Args:
      name: of the model.
      checkpoint: path of the file or directory.
      given: arguments of the model.
      head: see `pretrained.load`.
      source_grid: likewise.
      preprocessing: what the user says of pictures and classes.

    Raises: UserError for a file or arguments that do not fit.
    """
    module_class = MODELS[name].module_class
    path = directories.weights_in(pathlib.Path(checkpoint))
    raw = as_arrays(read_state_dict(path))
    beside = directories.read_beside(path)
    arrays = layouts.rename(module_class, raw)
    presumed = layouts.presumed_arguments(raw)
    resolved = resolve(name, given, beside.arguments, presumed, arrays, source_grid)
    model = models.create(name, **resolved.arguments)
    loaded = pretrained.load(model, arrays, jax.random.key(0), source_grid, head)
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
        file=path.name,
        sha256=facts.hash_file(path),
    )
    complete = {**models.defaults(name), **resolved.arguments}
    facts.check(found, complete.get("num_classes"))
    grid = None if source_grid else grids.file_grid(model, arrays, None)
    lines = (*_lines(resolved, grid), *beside.notes, *loaded.notes)
    card = found.as_card(models.values(model))
    return Converted(loaded.variables, found, card, lines)


def _lines(resolved: Resolved, grid: Grid | None) -> list[str]:
    """Return what the file told, and what it did not."""
    lines = []
    if resolved.read:
        lines.append(f"read from the file: {_listed(resolved.read)}")
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
