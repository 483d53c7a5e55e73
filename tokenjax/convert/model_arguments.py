"""Arguments of the model that a file is converted for, and where each comes from.

Given on the command line; else told by the file's directory (`directories`) or by its
shapes (`reading`); else what the model's name stands for, which is said of those that
no shape tells. What is given may differ from the file in the number of classes and the
size of the image, which are new then, and in what the classifier reads; in nothing else
that shapes tell (MaxViT's tell the size).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from tokenjax import models
from tokenjax.arguments import check_all
from tokenjax.convert import grids
from tokenjax.convert.reading import (
    HEADS,
    SHAPELESS,
    WIDTHS,
    Arrays,
    read_arguments,
)
from tokenjax.errors import ConversionError
from tokenjax.models.baselines.vision_transformer import ImageNetViT
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.position_embedding import Grid
from tokenjax.models.registry import MODELS
from tokenjax.models.transformer import Transformer
from tokenjax.models.vdpa import VDPA

_OF_THE_HEAD = ("num_classes", "global_pool")  # which may be another than the file's


class Resolved(NamedTuple):
    """Arguments that are not the name's own, and what is to be said of them."""

    arguments: dict[str, Any]
    read: dict[str, Any]  # of those, what the file or its directory told
    assumed: dict[str, Any]  # what neither was given nor told, and has no shape


def resolve(
    name: str,
    given: Mapping[str, Any],
    told: Mapping[str, Any],
    presumed: Mapping[str, Any],
    arrays: Arrays,
    source_grid: Grid | None,
) -> Resolved:
    """Decide on the arguments of a model for a file.

    Args:
      name: of the model.
      given: by the user.
      told: by what lies beside the file.
      presumed: that the program of the file's layout has unless told otherwise.
      arrays: of the file, under the keys of the model's table.
      source_grid: of patches in the file, if it is given.

    Raises: UserError for arguments that do not fit the model, ConversionError for those
      that contradict the file, and for a number of heads that nothing tells.
    """
    module_class, defaults = MODELS[name].module_class, models.defaults(name)
    fitted = check_all(given, module_class, f"argument of {name}", f"{name}: ")
    known = {key: value for key, value in told.items() if key in defaults}
    likely = {key: value for key, value in presumed.items() if key in defaults}
    shapes = read_arguments(module_class, arrays, source_grid)
    _refuse_contradictions(fitted, shapes)
    found = {**known, **shapes}
    found |= {key: known[key] for key in _OF_THE_HEAD if key in known}
    other_patch = "patch_size" in found and "patch_size" not in fitted
    if other_patch and "stride_size" in defaults:
        found["stride_size"] = found["patch_size"]  # published ones do not overlap
    _refuse_unknown_heads(name, fitted, found)
    model = models.create(name, **{**found, **fitted})
    grid = grids.file_grid(model, arrays, source_grid)
    if "img_size" not in fitted and "img_size" not in found and grid:
        found |= _image_size(model, grid)
    read = {
        key: value
        for key, value in found.items()
        if key not in fitted and value != defaults[key]
    }
    assumed = {
        key: likely.get(key, defaults[key])
        for key in SHAPELESS
        if key in defaults and key not in fitted and key not in found
    }
    changed = {key: assumed[key] for key in likely if key in assumed}
    return Resolved({**changed, **read, **fitted}, read, assumed)


def _refuse_contradictions(given: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Raise ConversionError for arguments that the file's shapes say otherwise of."""
    wrong = [
        f"--model.{key}={given[key]}, and the file's is {value}"
        for key, value in shapes.items()
        if key in given
        and key not in _OF_THE_HEAD
        and not isinstance(value, float)  # a ratio's own rounding is the model's
        and given[key] != value
    ]
    if wrong:
        raise ConversionError(f"the file is of another network: {'; '.join(wrong)}")


def _refuse_unknown_heads(
    name: str, given: Mapping[str, Any], found: Mapping[str, Any]
) -> None:
    """Raise ConversionError if the file is wider than the name says, its heads unsaid.

    The name's number of heads is that of its own width.
    """
    defaults = models.defaults(name)
    heads = [key for key in HEADS if key in defaults]
    widths = [key for key in WIDTHS if key in defaults]
    if not heads or not widths or heads[0] in given or heads[0] in found:
        return
    width = {**found, **given}.get(widths[0], defaults[widths[0]])
    if widths[0] not in given and width != defaults[widths[0]]:
        raise ConversionError(
            f"the file's {widths[0]} is {width}, {name}'s is {defaults[widths[0]]}, "
            "and the file does not tell its number of heads: give "
            f"--model.{heads[0]}=N, or another --model"
        )


def _image_size(model: nn.Module, grid: Grid) -> dict[str, Any]:
    """Return the argument that makes an image of so many patches, where it is told."""
    if isinstance(model, VDPA | Transformer):
        square = grid[0] == grid[1]
        return {"img_size": grid[0] * model.patch_size} if square else {}
    if not isinstance(model, ImageNetViT | CameraViT):
        return {}  # as many patches as the model's own defaults say
    side = model.patch_size
    if isinstance(model, CameraViT) and model.stride != (side, side):
        return {}
    height, width = grid[0] * side, grid[1] * side
    return {"img_size": height if height == width else (height, width)}
