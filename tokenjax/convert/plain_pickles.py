"""Reading of numpy arrays from a pickle that PyTorch did not write; none of it is run.

Some trainers save weights by `pickle.dump`, as numpy arrays. Every name in the pickle
is answered by a stand-in of `inert_globals`, or refused.
"""

import _compat_pickle
import io
import pathlib
import pickle
from typing import Any

from tokenjax.convert.inert_globals import RecordedArray, StandIn, stand_ins
from tokenjax.errors import ConversionError, first_line, shown

_TORCHS = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # its files begin with it
_HEAD = 32


class _Refused(Exception):
    """Error of a pickle that names what could run code."""


def is_plain(path: pathlib.Path) -> bool:
    """Return whether a file begins as a pickle, and not as one of PyTorch's files."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return head[:1] == pickle.PROTO and _TORCHS not in head


def read_plain_pickle(path: pathlib.Path) -> object:
    """Read what `pickle.dump` wrote; arrays come as `RecordedArray`.

    Raises: ConversionError for a damaged file, and one that names other things.
    """
    hint = "; save a plain state_dict by torch.save, or .safetensors"
    return _read(path.read_bytes(), shown(path), hint)


def read_plain_dictionary(content: bytes, what: str) -> dict[str, Any]:
    """Read the bytes of a pickle of a dictionary; its arrays come as numpy's.

    `what` messages call it. Raises: ConversionError, see `read_plain_pickle`, and for
    what is no dictionary, or an array that is not whole.
    """
    found = _read(content, what)
    if not isinstance(found, dict):
        raise ConversionError(f"{what}: the pickle is of no dictionary")
    try:
        return {
            key: value.read() if isinstance(value, RecordedArray) else value
            for key, value in found.items()
        }
    except ValueError as error:
        raise ConversionError(f"{what}: {error}") from error


def _read(content: bytes, what: str, hint: str = "") -> object:
    # From memory: asked for more than there is, a file sets it all aside.
    unpickler = _Unpickler(io.BytesIO(content))
    try:
        return unpickler.load()
    except _Refused as error:
        named = shown(first_line(error))
        raise ConversionError(
            f"{what}: refused, the pickle names {named} and could run code on "
            f"loading{hint}"
        ) from error
    except Exception as error:  # unpickling raises whatever the damage led to
        raise ConversionError(
            f"{what}: not a whole pickle: {type(error).__name__} {first_line(error)}"
        ) from error


# Python's own: C's takes from a hostile pickle how much memory it sets aside.
class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    proto: int

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="latin1")  # Python 2's bytes, one to one
        self.known: dict[str, StandIn] = {"_codecs.encode": _encode}
        for stand_in, name in stand_ins():
            self.known[name] = stand_in
        array = self.known["numpy.ndarray"]
        for module in ("numpy._core.numeric", "numpy.core.numeric"):
            self.known[f"{module}._frombuffer"] = lambda *parts: _fill(array(), *parts)

    def find_class(self, module: str, name: str) -> StandIn:
        if self.proto < 3:  # names of Python 2
            module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        full_name = f"{module}.{name}"
        if full_name not in self.known:
            raise _Refused(full_name)
        return self.known[full_name]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes as {encoding}")
    return text.encode("latin1")


def _fill(
    array: RecordedArray, raw: Any, number_type: object, shape: object, order: object
) -> RecordedArray:
    array.__setstate__((1, shape, number_type, order == "F", bytes(raw)))
    return array
