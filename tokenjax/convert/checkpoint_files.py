"""Reads PyTorch checkpoint files without running what is in them."""

import pathlib
from collections.abc import Mapping
from typing import Any

from tokenjax.convert import torchscript_files
from tokenjax.errors import ConversionError

_MINIMUM_TORCH = (2, 10)  # earlier weights_only loaders could still be made to run code
_WRAPPERS = ("state_dict_ema", "state_dict", "model_state_dict", "model")


def read_state_dict(path: str | pathlib.Path) -> dict[str, Any]:
    """key -> array, from .safetensors, .pth or .pt.

    A pickle is read with `weights_only=True` and nothing else, a TorchScript archive
    without torch: its tensors are taken out, its code is left alone. A state_dict
    nested under "state_dict_ema" (the averaged one first), "state_dict",
    "model_state_dict" or "model" is taken out.

    Raises: ConversionError for a missing, damaged or unsafe file, and without torch.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ConversionError(f"no checkpoint file at {path}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt") and torchscript_files.is_archive(path):
        return dict(torchscript_files.read_archive(path))
    if path.suffix in (".pth", ".pt") or path.name.endswith(".pth.tar"):
        return _unwrap(_read_pickle(path), path)
    raise ConversionError(
        f"{path}: expected a .safetensors, .pth or .pt file, got {path.suffix!r}"
    )


def _read_safetensors(path: pathlib.Path) -> dict[str, Any]:
    import safetensors
    import safetensors.numpy

    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(
            f"{path}: not a whole safetensors file: {error}"
        ) from error


def _read_pickle(path: pathlib.Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ConversionError(
            f"{path}: reading .pth needs torch (pip install 'tokenjax[torch]'); "
            "or save the weights as .safetensors"
        ) from error
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _MINIMUM_TORCH:
        raise ConversionError(
            f"{path}: torch {torch.__version__} is too old to read a pickle safely; "
            "torch 2.10 or later is needed"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage led to
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise ConversionError(
                f"{path}: refused, the pickle holds more than weights and could run "
                "code on loading; save a plain state_dict, or .safetensors"
            ) from error
        raise ConversionError(
            f"{path}: not a whole PyTorch checkpoint: {type(error).__name__} {reason}"
        ) from error


def _unwrap(loaded: Any, path: pathlib.Path) -> dict[str, Any]:
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and hasattr(value, "shape")
        for key, value in loaded.items()
    ):
        raise ConversionError(f"{path}: holds no state_dict of tensors")
    return dict(loaded)
