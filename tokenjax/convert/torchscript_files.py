"""Reading of a TorchScript archive's tensors (`torch.jit.save`); none of it is run.

OpenAI publishes CLIP so. The archive is a zip: code/ is left alone, data.pkl is a
pickle of modules whose tensors lie in data/0, data/1, ... The pickle is read by an
unpickler that knows modules as bags of attributes, and tensors as records of where they
lie; it refuses every other name, and reads numbers only when the pickle has ended.
"""

import math
import pathlib
import pickle
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np

from tokenjax.errors import ConversionError, first_line, shown

_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _Refused(Exception):
    """Error of a pickle that names what is neither a tensor nor a module."""


class _Storage(NamedTuple):
    dtype: str
    record: str


class _Module(Protocol):
    attributes: dict[str, object]


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def is_archive(names: list[str]) -> bool:
    """Return whether a zip file of these names is a TorchScript archive.

    `torch.save` writes no constants.
    """
    return any(name.endswith("/constants.pkl") for name in names)


def read_archive(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Read the parameters and buffers of the module, key -> array.

    Args:
      path: of a file that `zip_files.check` has passed.

    Raises: ConversionError for a damaged file and for one whose pickle holds more.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            root = min(pickles, key=len).removesuffix("data.pkl")
            _check_byte_order(archive, root)
            with archive.open(f"{root}data.pkl") as file:
                unpickler = _Unpickler(file)
                module = unpickler.load()
            storages = _Storages(archive, root, 4 * path.stat().st_size)
            state: dict[str, np.ndarray] = {}
            for key, tensor in _tensors(module, unpickler.module_class):
                if key in state:
                    raise ValueError(f"{key!r} twice")
                state[key] = storages.read(tensor)
            return state
    except _Refused as error:
        named = shown(first_line(error))
        raise ConversionError(
            f"{shown(path)}: refused, the pickle names {named} and could run code on "
            "loading"
        ) from error
    except Exception as error:  # unpickling raises whatever the damage led to
        raise ConversionError(
            f"{shown(path)}: not a whole TorchScript archive: {type(error).__name__} "
            f"{first_line(error)}"
        ) from error


def _check_byte_order(archive: zipfile.ZipFile, root: str) -> None:
    name = f"{root}byteorder"  # absent before PyTorch 2.1
    if name in archive.namelist() and archive.read(name) != b"little":
        raise ValueError("big-endian numbers")


# Python's own: C's takes from a hostile pickle how much memory it sets aside.
class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)

        class Module:  # a new one each time: a pickle may set attributes of a class
            def __setstate__(self, attributes: dict[str, object]) -> None:
                self.attributes = attributes

        self.module_class: type[_Module] = Module

    def find_class(self, module: str, name: str) -> object:
        if module.partition(".")[0] == "__torch__":
            return self.module_class
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _Tensor(*arguments[:4])
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle":  # typed lists, no weights
            return lambda *values: None
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, identity: tuple[str, str, str, str, int]) -> _Storage:
        _, dtype, record, _, _ = identity  # "storage", ..., device, number of elements
        return _Storage(dtype, record)


def _tensors(
    root: _Module, module_class: type[_Module]
) -> Iterator[tuple[str, _Tensor]]:
    """Yield every tensor below a module by key; a module met twice is read once."""
    waiting, seen = [("", root)], set()
    while waiting:
        prefix, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        for name, value in module.attributes.items():
            if isinstance(value, _Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, module_class):
                waiting.append((f"{prefix}{name}.", value))


class _Storages:
    """Numbers of an archive, each storage read once; `limit` bytes in all."""

    def __init__(self, archive: zipfile.ZipFile, root: str, limit: int) -> None:
        self.archive, self.root, self.left = archive, root, limit
        self.cache: dict[_Storage, np.ndarray] = {}

    def read(self, tensor: _Tensor) -> np.ndarray:
        storage, offset, size, stride = tensor
        if storage not in self.cache:
            raw = self.archive.read(f"{self.root}data/{storage.record}")
            self.cache[storage] = np.frombuffer(raw, _DTYPES[storage.dtype])
        flat = self.cache[storage]
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        count = math.prod(size)
        outside = count > 0 and max(last + 1, count) > flat.size
        if outside or min((offset, *size, *stride)) < 0:
            raise ValueError(
                f"a tensor {size} of stride {stride} in {flat.size} numbers"
            )
        self.left -= count * flat.itemsize
        if self.left < 0:
            raise ValueError("its tensors claim far more numbers than it holds")
        if not count:
            return np.zeros(size, flat.dtype)
        steps = [step * flat.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(flat[offset:], size, steps).copy()
