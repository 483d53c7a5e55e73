"""Keys of the methods of token reduction, as each says of itself."""

from typing import Literal

from tokenjax.convert.mapping import LINEAR, Entry, Path, linear, norm
from tokenjax.models.reduction import EncoderFacts, Reducer


def reducer_entries(
    method: Reducer | None, encoder: EncoderFacts, root: Path = ("params",)
) -> list[Entry]:
    """Return the entries of a method's parameters in an encoder, [] for none.

    `root`: where the encoder's parameters are.
    """
    entries: list[Entry] = []
    if method is None:
        return entries
    for layer in method.torch_layers(encoder):
        within = f"{method.parameters_of(str(layer.block))}/{layer.path}"
        path = (*root, *within.split("/"))
        entries += layer_entries(layer.kind, layer.key, path)
    return entries


def layer_entries(
    kind: Literal["linear", "matrix", "norm", "array"], key: str, path: Path
) -> list[Entry]:
    """Return the entries of a layer of a kind that `reducer.TorchLayer` knows."""
    if kind == "linear":
        return linear(key, path)
    if kind == "matrix":
        return [Entry(f"{key}.weight", (*path, "kernel"), LINEAR)]
    if kind == "norm":
        return norm(key, path)
    return [Entry(key, path)]
