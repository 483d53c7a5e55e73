"""Loading of published weights for what they are to be: another grid, another head.

    variables = load_pretrained(model, read_state_dict(path), key)

`convert.from_torch` takes a state_dict as it is. Here positions of another grid are
resized (`grids`), what no output depends on is left out, and with `head="new"` so is
the classifier, a new one being drawn. A backbone (clip_vit, camera_vit, t2t_vit) has
none: a file of a whole system gives its part. All else is strict; every thing done is
told. `layouts` lists the names that weights may go by.
"""

import fnmatch
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from absl import logging

from tokenjax.convert import grids, layouts
from tokenjax.convert.mapping import (
    Entry,
    Table,
    apply_table,
    as_arrays,
    invert_table,
    shapes_by_key,
)
from tokenjax.convert.tables import table_for
from tokenjax.convert.unwrapping import under_table_keys
from tokenjax.errors import ConversionError
from tokenjax.initialization import draw_alike_together
from tokenjax.models import contract
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.t2t_vit import T2TViT
from tokenjax.models.position_embedding import Grid, Method

Arrays = dict[str, np.ndarray]
Head = Literal["keep", "new"]
_DISTILLATION = r"^(dist_token$|head_dist\.)"
BACKBONES = (ClipVisionTransformer, CameraViT, T2TViT)


class Loaded(NamedTuple):
    """Variables, and a sentence about each thing that was done to the weights."""

    variables: dict[str, Any]
    notes: tuple[str, ...]


def load_pretrained(
    model: nn.Module,
    state_dict: Mapping[str, Any],
    key: jax.Array,
    source_grid: Grid | None = None,
) -> dict[str, Any]:
    """Convert published weights of a backbone to Flax variables in float32.

    Args:
      model: a `ClipVisionTransformer`, a `CameraViT` or a `T2TViT`.
      state_dict: key -> numpy array or torch tensor, in one of the known layouts.
      key: draws what the file need not have, where it has not.
      source_grid: rows and columns of patches in the file. None: a square, or if they
        are of no square the model's own.

    What is done to the weights is logged.

    Raises: ConversionError that lists all missing, unexpected and misshapen keys.
    """
    if type(model) not in BACKBONES:
        known = ", ".join(sorted(cls.__name__ for cls in BACKBONES))
        raise ConversionError(
            f"no published weights are known for {type(model).__name__}; for {known}"
        )
    arrays = rename(model, as_arrays(state_dict))
    loaded = load(model, arrays, key, source_grid, sure=False)
    for note in loaded.notes:
        logging.info("%s", note)
    return loaded.variables


def rename(model: nn.Module, arrays: Arrays) -> Arrays:
    """Return arrays of a file, which may have no head, under the keys of the table.

    Raises: ConversionError for weights that are there twice.
    """
    return under_table_keys(model, arrays, _head_keys(model, table_for(model)))


def load(
    model: nn.Module,
    arrays: Arrays,
    key: jax.Array,
    source_grid: Grid | None = None,
    method: Method | None = None,
    head: Head = "keep",
    sure: bool = True,
) -> Loaded:
    """Convert arrays, under the keys that `rename` gives, to Flax variables.

    Args:
      model: any that has a table of keys.
      arrays: of the file.
      key: draws a new head, and what the file need not have.
      source_grid: see `load_pretrained`.
      method: by which positions are resized; None: the model's own.
      head: "new" leaves the file's classifier out and draws another.
      sure: whether a grid that cannot be known is refused.

    Raises: ConversionError that lists all missing, unexpected and misshapen keys.
    """
    table, layout = table_for(model), layouts.layout_of(model)
    heads = _head_keys(model, table)
    dropped = [name for name in arrays if re.search(layout.unused, name)]
    known = {entry.torch_key for entry in table.entries}
    more_heads = [n for n in set(arrays) - known if re.search(layout.more_heads, n)]
    if head == "new" and not heads:
        raise ConversionError(f"{type(model).__name__} has no classifier to draw anew")
    if head == "new" or not heads:
        modules = {name.rpartition(".")[0] + "." for name in heads}
        dropped += [name for name in arrays if name.startswith(tuple(modules))]
        dropped += more_heads
    elif more_heads:
        raise ConversionError(
            f"the file's outputs depend on {_listed(sorted(more_heads))}, which "
            f"{type(model).__name__} has no place for; --head=new leaves them out and "
            "draws a new classifier"
        )
    if "dist_token" in dropped:
        arrays = without_distillation(arrays)
    kept = {name: array for name, array in arrays.items() if name not in dropped}
    notes = [f"left out: {_listed(sorted(set(dropped)))}"] if dropped else []
    if head == "keep":
        _check_head(model, table, kept, heads)
    kept, more = grids.fit_positions(model, kept, source_grid, method, sure)
    absent = known - set(kept)
    drawn = sorted(absent.intersection(heads if head == "new" else layout.optional))
    if drawn:
        init = jax.jit(draw_alike_together(model.init))
        initial = init(key, *model.example_inputs(1))
        state = invert_table(table, initial)
        kept |= {name: state[name] for name in drawn}
        notes.append(f"new, drawn at random: {_listed(drawn)}")
    return Loaded(apply_table(table, model, kept), (*notes, *more))


def _head_keys(model: nn.Module, table: Table) -> list[str]:
    """Return the keys of what makes the classes' scores; a backbone has none."""
    assert isinstance(model, contract.Model)
    patterns = model.parameter_groups().get(contract.HEAD, ())

    def within(entry: Entry) -> bool:
        path = "/".join(entry.path[1:])
        return entry.path[0] == "params" and any(
            fnmatch.fnmatchcase(path, pattern) for pattern in patterns
        )

    return [entry.torch_key for entry in table.entries if within(entry)]


def _check_head(
    model: nn.Module, table: Table, arrays: Arrays, heads: list[str]
) -> None:
    """Raise an error that names --head=new if the file has no head, or another's.

    Raises: ConversionError.
    """
    body = {entry.torch_key for entry in table.entries} - set(heads)
    if not heads or not body.intersection(arrays):
        return
    shapes = shapes_by_key(table, model)
    problems = [
        f"{name} is {arrays[name].shape}, this model's is {shapes[name]}"
        if name in arrays
        else f"{name} is missing"
        for name in heads
        if name not in arrays or arrays[name].shape != shapes[name]
    ]
    others = body.difference(arrays)  # not a matter of the head alone
    if problems and not others:
        raise ConversionError(
            f"the file's classifier is not this model's ({'; '.join(problems)}): "
            "--head=new leaves it out and draws a new one"
        )


def without_distillation(arrays: Arrays) -> Arrays:
    """Leave out a distillation token, its position (the second) and its head."""
    rest = {key: a for key, a in arrays.items() if not re.search(_DISTILLATION, key)}
    positions = rest.get("pos_embed", np.empty(0))
    if "dist_token" not in arrays or positions.ndim != 3:
        return rest
    rest["pos_embed"] = np.concatenate([positions[:, :1], positions[:, 2:]], axis=1)
    return rest


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if names[4:] else shown
