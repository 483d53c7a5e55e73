"""A new run's backbone with converted weights (`reid.backbone_from`)."""

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import optax
from absl import logging
from flax.typing import VariableDict

from tokenjax import models, paths, storage
from tokenjax.errors import CheckpointError, UserError
from tokenjax.models import contract, position_embedding
from tokenjax.models.position_embedding import Grid
from tokenjax.training import parameter_groups
from tokenjax.training.initialize import check_variables


def start_with_backbone(
    own: VariableDict, model: contract.Model, source: str
) -> VariableDict:
    """Return variables with the backbone of a checkpoint that `tokenjax.convert` wrote.

    Positions of another grid are resized to the model's, and that is said.

    Args:
      own: variables of the new run.
      model: of the run.
      source: the checkpoint's directory.

    Raises: CheckpointError that lists what is missing, unexpected or misshapen, or what
      the backbone was converted for that no shape tells and this run has otherwise.
    """
    groups = model.parameter_groups()
    key = parameter_groups.subtree(groups, contract.BACKBONE)
    mine = {name: tree[key] for name, tree in own.items() if key in tree}
    cameras = parameter_groups.members(groups, own["params"], contract.CAMERAS)
    try:
        directory = paths.resolve(source, "directory")
        found, metadata = storage.load_variables(directory)
        given = {name: dict(tree) for name, tree in found.items()}
        _fit_model(given, metadata, model, key, source)
        if "params" in given:
            given["params"] = _with_own(mine["params"], given["params"], cameras, key)
        check_variables(mine, given)
    except UserError as error:
        raise CheckpointError(f"reid.backbone_from {source}: {error}") from error
    # Also constants: a T2T-ViT's positions, say.
    return {
        name: {**tree, key: given[name]} if name in given else tree
        for name, tree in own.items()
    }


def _fit_model(
    given: dict[str, dict[str, Any]],
    metadata: Mapping[str, Any],
    model: contract.Model,
    key: str,
    source: str,
) -> None:
    """Resize the given positions to the model's grid, in place.

    Positions with another number of rows than the grid that is said of them has places
    stay as they are, to be refused, and so does what else is said of such weights.

    Raises: CheckpointError for other settings than the model's.
    """
    assert isinstance(model, contract.KnowsPlaces)
    theirs = _model_of(metadata)
    for path, wanted in model.places().items():
        collection, _, rest = path.partition(f"/{key}/")
        array = given.get(collection, {}).get(rest)
        rows = None if array is None else array.shape[-2]
        grid = _grid_of(metadata, theirs)
        found = wanted._replace(rows=grid[0], columns=grid[1]) if grid else None
        if array is None or found is None or found.length != rows:
            if rows == wanted.length:
                message = "%s does not say its grid of patches: taken for %d x %d"
                logging.warning(message, source, *wanted.grid)
            continue
        _check_settings(theirs, model)
        if found.grid != wanted.grid:
            given[collection][rest] = position_embedding.fit(array, found, wanted)
            message = "%s: positions resized from %d x %d patches to %d x %d"
            logging.warning(message, source, *found.grid, *wanted.grid)


def _model_of(metadata: Mapping[str, Any]) -> contract.Model | None:
    """Return the model that a checkpoint says it was converted for, None if unknown."""
    arguments = dict(metadata.get("model") or {})
    try:
        return models.create(arguments.pop("name", ""), **arguments)
    except UserError:  # a model of the user's, or of another version
        return None


def _grid_of(metadata: Mapping[str, Any], theirs: contract.Model | None) -> Grid | None:
    """Return the grid of a checkpoint's patches; an older one says its model alone."""
    if metadata.get("grid"):
        rows, columns = metadata["grid"]
        return int(rows), int(columns)
    if not isinstance(theirs, contract.KnowsPlaces):
        return None
    return next(iter(theirs.places().values())).grid


def _check_settings(theirs: contract.Model | None, model: contract.Model) -> None:
    """Raise CheckpointError if the weights were converted for other settings."""
    if not isinstance(theirs, contract.HasBackbone):
        return
    if not isinstance(model, contract.HasBackbone):
        return
    ours = model.backbone_settings()
    different = [
        f"{name} is {value}, and this run's is {ours[name]}"
        for name, value in theirs.backbone_settings().items()
        if name in ours and value != ours[name]
    ]
    if different:
        raise CheckpointError(
            f"the backbone was converted for another network: {'; '.join(different)}"
        )


def _with_own(
    own: optax.Params, given: optax.Params, cameras: frozenset[str], key: str
) -> optax.Params:
    """Return the given weights, with the run's camera embeddings if they lack them."""
    flat = flax.traverse_util.flatten_dict(dict(given), sep="/")
    for path, value in flax.traverse_util.flatten_dict(dict(own), sep="/").items():
        if f"{key}/{path}" in cameras:
            flat.setdefault(path, value)
    return flax.traverse_util.unflatten_dict(flat, sep="/")
