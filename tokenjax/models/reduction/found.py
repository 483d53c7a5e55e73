"""What a trained reduction says its arguments should be."""

import re
from collections.abc import Mapping
from typing import Any

import flax.traverse_util

from tokenjax.models.reduction import methods
from tokenjax.models.reduction.reducer import EncoderFacts

# Where an encoder puts what acts in a block, and before one.
_PLACE = re.compile(r"(?:blocks_(\d+)/reducer|reduction_(\d+))/(.+)")


def find_arguments(
    written: str | Mapping[str, Any] | None,
    facts: EncoderFacts,
    variables: Mapping[str, Any],
) -> dict[str, object]:
    """Return {"reduction": the method as found}, or {} if none was searched for.

    Args:
      written: the method that was trained.
      facts: of the encoder.
      variables: the model's.
    """
    method = methods.build(written)
    if method is None or written is None:
        return {}
    params: dict[int, dict[str, Any]] = {}
    flat = flax.traverse_util.flatten_dict(variables["params"], sep="/")
    for path, leaf in flat.items():
        if found := _PLACE.search(path):
            block = int(found[1] or found[2])
            params.setdefault(block, {})[found[3]] = leaf
    arguments = method.find_arguments(params, facts)
    if not arguments:
        return {}
    name, _ = methods.read(written)
    return {"reduction": methods.write({"name": name, **arguments}, "reduction")}
