"""Reading of PyTorch checkpoint files without running what is in them.

What a file is its content tells, whatever its name (`file_formats`): safetensors,
PyTorch's pickle (`pickle_files`) or another (`plain_pickles`), a TorchScript archive,
an index of shards. A zip file's
checksums, which torch passes over, are held to first (`zip_files`). .safetensors and
PyTorch's old format have no checksums: damage in their numbers is seen when it makes
them no numbers.
"""

import pathlib
from typing import Any

from tokenjax.convert import plain_pickles, sharded_files, torchscript_files, zip_files
from tokenjax.convert.file_formats import tell_format
from tokenjax.convert.pickle_files import read_pickle
from tokenjax.convert.safetensors_files import read_safetensors
from tokenjax.convert.wrapped_states import find_state, take_below
from tokenjax.errors import ConversionError, shown

_SHARED = 4  # times a file's size: tied weights lie in it once and count twice


def read_state_dict(path: str | pathlib.Path, key: str | None = None) -> dict[str, Any]:
    """Read key -> array from a file of weights, an index of shards, or a directory.

    A pickle is read with `weights_only=True` and nothing else, a TorchScript archive
    without torch: its tensors are taken out, its code is left alone. A state_dict is
    found in whatever a trainer saved around it; averaged weights come first, and that
    is said (`wrapped_states`).

    Args:
      path: of a file under any name, or of a directory that holds one file of weights.
      key: which part to take of a file of several: the names that lead to it, "ema"
        or "ema/shadow", or what its keys begin with, "teacher".

    Raises: ConversionError for a missing, damaged or unsafe file, and without torch.
    """
    path = _find(path)
    if tell_format(path) == "index":
        state = sharded_files.read_shards(path, _read_file)
        return take_below(state, key, shown(path)) if key else state
    return _read_file(path, key)


def list_files(path: str | pathlib.Path) -> list[pathlib.Path]:
    """Return the files of weights that `read_state_dict` reads.

    Raises: ConversionError for a missing file, and an index that is damaged.
    """
    path = _find(path)
    is_index = tell_format(path) == "index"
    return sharded_files.list_shards(path) if is_index else [path]


def _find(path: str | pathlib.Path) -> pathlib.Path:
    path = pathlib.Path(path)
    if path.is_dir():
        path = sharded_files.find_weights(path)
    if not path.is_file():
        raise ConversionError(f"no checkpoint file at {shown(path)}")
    return path


def _read_file(path: pathlib.Path, key: str | None = None) -> dict[str, Any]:
    match tell_format(path):
        case "safetensors":
            state: dict[str, Any] = dict(read_safetensors(path))
        case "zip" if torchscript_files.is_archive(zip_files.check(path)):
            state = dict(torchscript_files.read_archive(path))
        case "index":
            raise ConversionError(f"{shown(path)}: an index of shards, not weights")
        case form:
            is_plain = form == "pickle" and plain_pickles.is_plain(path)
            read = plain_pickles.read_plain_pickle if is_plain else read_pickle
            state, key = find_state(read(path), path, key), None
    _check_size(state, path)
    return take_below(state, key, shown(path)) if key else state


def _check_size(state_dict: dict[str, Any], path: pathlib.Path) -> None:
    """Refuse tensors that claim far more numbers than the file holds.

    One may repeat a number a billion times; converting it would write them.

    Raises: ConversionError.
    """
    claimed = 0
    for value in state_dict.values():
        torchs = hasattr(value, "element_size")
        claimed += value.numel() * value.element_size() if torchs else value.nbytes
    size = path.stat().st_size
    if claimed > _SHARED * size:
        raise ConversionError(
            f"{shown(path)}: refused, its tensors claim {claimed} bytes, and the file "
            f"has {size}"
        )
