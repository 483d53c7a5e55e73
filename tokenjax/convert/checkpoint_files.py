"""Reading of PyTorch checkpoint files without running what is in them.

A pickle is read with `weights_only=True` or not at all; a zip file's checksums, which
torch passes over, are held to first (`zip_files`). .safetensors and PyTorch's old
format have no checksums: damage in their numbers is seen when it makes them no numbers.
"""

import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from absl import logging

from tokenjax.convert import torchscript_files, zip_files
from tokenjax.errors import ConversionError, first_line, shown

_MINIMUM_TORCH = (2, 10)  # earlier weights_only loaders could still be made to run code
# Averaged weights first: they are what a run that keeps them is evaluated by.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_WRAPPERS = (*_AVERAGED, "state_dict", "model_state_dict", "model", "module", "net")
_DEEPEST = 8  # wrappers within wrappers
_SHARED = 4  # times a file's size: tied weights lie in it once and count twice


def read_state_dict(path: str | pathlib.Path) -> dict[str, Any]:
    """Read key -> array from a .safetensors, .pth or .pt file.

    A pickle is read with `weights_only=True` and nothing else, a TorchScript archive
    without torch: its tensors are taken out, its code is left alone. A state_dict is
    taken out of "state_dict", "model_state_dict", "model", "module" or "net", one
    within another too; averaged weights come first, and that is said.

    Raises: ConversionError for a missing, damaged or unsafe file, and without torch.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ConversionError(f"no checkpoint file at {shown(path)}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix not in (".pth", ".pt") and not path.name.endswith(".pth.tar"):
        raise ConversionError(
            f"{shown(path)}: expected a .safetensors, .pth or .pt file, got "
            f"{path.suffix!r}"
        )
    if _is_zip(path) and torchscript_files.is_archive(zip_files.check(path)):
        state_dict = dict(torchscript_files.read_archive(path))
    else:
        state_dict = _unwrap(_read_pickle(path), path)
    _check_size(state_dict, path)
    return state_dict


def _is_zip(path: pathlib.Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # one, but in several parts: `zip_files.check` tells
        return True


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


def _read_safetensors(path: pathlib.Path) -> dict[str, Any]:
    import safetensors
    import safetensors.numpy

    try:
        return safetensors.numpy.load_file(path)
    except (
        safetensors.SafetensorError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise ConversionError(
            f"{shown(path)}: not a whole safetensors file: {first_line(error)}"
        ) from error


def _read_pickle(path: pathlib.Path) -> object:
    try:
        import torch
    except ImportError as error:
        raise ConversionError(
            f"{shown(path)}: reading .pth needs torch (pip install 'tokenjax[torch]'); "
            "or save the weights as .safetensors"
        ) from error
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _MINIMUM_TORCH:
        raise ConversionError(
            f"{shown(path)}: torch {torch.__version__} is too old to read a pickle "
            "safely; torch 2.10 or later is needed"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage led to
        reason = first_line(error)
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named:
            raise ConversionError(
                f"{shown(path)}: refused, the pickle names {named[1]} and could run "
                "code on loading; save a plain state_dict, or .safetensors"
            ) from error
        if "weights_only" in str(error):
            inner = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
            raise ConversionError(
                f"{shown(path)}: refused, it is damaged or holds more than weights and "
                f"could run code on loading ({inner[1] if inner else reason}); save a "
                "plain state_dict, or .safetensors"
            ) from error
        raise ConversionError(
            f"{shown(path)}: not a whole PyTorch checkpoint: {type(error).__name__} "
            f"{reason}"
        ) from error


def _unwrap(loaded: object, path: pathlib.Path) -> dict[str, Any]:
    taken: list[str] = []
    while len(taken) <= _DEEPEST and isinstance(loaded, Mapping):
        found = [key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if not found:
            break
        taken.append(found[0])
        if found[0] in _AVERAGED and len(found) > 1:
            logging.warning(
                "%s: the averaged weights, %r, are taken, not %r",
                *(shown(path), "/".join(taken), found[1]),
            )
        loaded = loaded[found[0]]
    where = f"{shown(path)}{''.join(f'[{key!r}]' for key in taken)}"
    if not isinstance(loaded, Mapping) or len(taken) > _DEEPEST:
        raise ConversionError(f"{where}: holds no state_dict of tensors")
    for key, value in loaded.items():
        if not isinstance(key, str) or not hasattr(value, "shape"):
            raise ConversionError(
                f"{where}: holds no state_dict of tensors: {key!r} is a "
                f"{type(value).__name__}"
            )
    return dict(loaded)
