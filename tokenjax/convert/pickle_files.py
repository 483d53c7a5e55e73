"""Reading of PyTorch's pickles without running what is in them.

A pickle is read with `weights_only=True` or not at all. What trainers store beside the
weights and could run no code is passed over (`inert_globals`).
"""

import pathlib
import re

from tokenjax.convert.inert_globals import stand_ins
from tokenjax.errors import ConversionError, first_line, shown

_MINIMUM_TORCH = (2, 10)  # earlier weights_only loaders could still be made to run code


def read_pickle(path: pathlib.Path) -> object:
    """Read what `torch.save` wrote, in its format of today or before PyTorch 1.6.

    Raises: ConversionError for a damaged or unsafe file, and without torch.
    """
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
        # As an open file: what it is named must decide nothing.
        with path.open("rb") as file, torch.serialization.safe_globals(stand_ins()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage led to
        raise ConversionError(f"{shown(path)}: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    reason = first_line(error)
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return (
            f"refused, the pickle names {named[1]} and could run code on loading; save "
            "a plain state_dict, or .safetensors"
        )
    if "weights_only" in str(error):
        inner = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
        return (
            "refused, it is damaged or holds more than weights and could run code on "
            f"loading ({inner[1] if inner else reason}); save a plain state_dict, or "
            ".safetensors"
        )
    return f"not a whole PyTorch checkpoint: {type(error).__name__} {reason}"
