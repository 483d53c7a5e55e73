"""Weights in several files, and the weights in a directory.

A large model's weights come in shards; an index beside them, JSON, names the file of
every key: {"weight_map": {"head.weight": "model-00002-of-00002.safetensors", ...}}.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from tokenjax.errors import ConversionError, first_line, shown

# Names that libraries give a directory's weights; those that are safer come first.
_USUAL = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
)
_ENDINGS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".pth.tar")
_INDEX = ".index.json"

Reader = Callable[[pathlib.Path], dict[str, Any]]


def find_weights(directory: pathlib.Path) -> pathlib.Path:
    """Return the file of weights, or of their index, in a directory.

    Raises: ConversionError for none, and for several of names that no library gives.
    """
    usual = [directory / name for name in _USUAL if (directory / name).is_file()]
    if usual:
        return usual[0]
    found = sorted(path for path in directory.iterdir() if path.is_file())
    for endings in ((_INDEX,), _ENDINGS):
        chosen = [path for path in found if path.name.lower().endswith(endings)]
        if len(chosen) > 1:
            names = ", ".join(shown(path.name) for path in chosen)
            raise ConversionError(
                f"{shown(directory)}: several files of weights ({names}); name one"
            )
        if chosen:
            return chosen[0]
    raise ConversionError(
        f"no checkpoint file in {shown(directory)}: expected model.safetensors, "
        "pytorch_model.bin, an index of shards, or one other file of weights"
    )


def read_shards(index: pathlib.Path, read: Reader) -> dict[str, Any]:
    """Read all files that an index names.

    Raises: ConversionError for an index that is none, names files elsewhere, or does
      not agree with what is in its files.
    """
    weight_map = _read_index(index)
    state: dict[str, Any] = {}
    for shard in list_shards(index):
        name, tensors = shard.name, read(shard)
        wanted = {key for key, file in weight_map.items() if file == name}
        if tensors.keys() != wanted:
            key = min(tensors.keys() ^ wanted)
            fault = "lacks" if key in wanted else "holds, unlike the index says,"
            raise ConversionError(
                f"{shown(index)}: its file {shown(name)} {fault} {shown(key)}"
            )
        state |= tensors
    return state


def list_shards(index: pathlib.Path) -> list[pathlib.Path]:
    """Return the files that an index names.

    Raises: ConversionError for an index that is none, names files elsewhere, or such
      as are not there.
    """
    shards = [index.parent / name for name in sorted({*_read_index(index).values()})]
    for shard in shards:
        if not shard.is_file():
            raise ConversionError(
                f"{shown(index)}: its file {shown(shard.name)} is missing beside it"
            )
    return shards


def _read_index(index: pathlib.Path) -> dict[str, str]:
    try:
        content = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConversionError(
            f"{shown(index)}: not a whole index of shards: {first_line(error)}"
        ) from error
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ConversionError(
            f"{shown(index)}: neither weights nor an index of shards, which has a "
            "weight_map of key to file"
        )
    for name in weight_map.values():
        is_plain = isinstance(name, str) and name not in ("", ".", "..")
        if not is_plain or name != pathlib.PurePath(name).name:
            raise ConversionError(
                f"{shown(index)}: refused, it names a file outside its directory, "
                f"{shown(name)}"
            )
    return weight_map
