"""What a pickle of weights may name besides tensors, and what stands in for it.

Trainers store their arguments, dates, paths and scores beside the weights. A pickle
makes each by calling what it names. Here nothing that a pickle names is imported or
called: a stand-in of ours is, that takes any arguments and does nothing with them. The
stand-in of a numpy array remembers its numbers. Names that are not listed are refused.
"""

import collections
import math
from collections.abc import Callable
from typing import Any

import numpy as np

StandIn = Callable[..., Any]

_IGNORED = {
    "argparse": "Namespace",
    "builtins": "bool bytearray complex dict float frozenset int list range set slice "
    "str tuple",
    "datetime": "date datetime time timedelta timezone",
    "numpy": "bool bool_ float16 float32 float64 int8 int16 int32 int64 str_ uint8",
    "numpy._core.multiarray": "scalar",
    "numpy.core.multiarray": "scalar",  # before numpy 2
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode BooleanNode BytesNode EnumNode FloatNode IntegerNode "
    "PathNode StringNode",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath "
    "WindowsPath",  # Python 3.13
    "torch.torch_version": "TorchVersion",
    "types": "SimpleNamespace",
    "typing": "Any",
    "uuid": "UUID",
}
_DICTIONARIES = {  # subclasses of dict: items are set on them
    "addict.addict": "Dict",
    "collections": "Counter OrderedDict defaultdict",
    "easydict": "EasyDict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning.pytorch.utilities.parsing": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "mmcv.utils.config": "ConfigDict",
    "mmengine.config.config": "ConfigDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
    "yacs.config": "CfgNode",
}
_LISTS = {"collections": "deque"}  # items are appended to them
_NUMBERS = ("b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


class _Ignored:
    """Stand-in for any object: takes arguments and state, and keeps neither."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _NumberType:
    """Stand-in for a numpy dtype: remembers its name and the order of its bytes."""

    def __init__(self, name: object = "", *_: object) -> None:
        self.name, self.order = name, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = ">" if state[1] == ">" else "<"


class RecordedArray:
    """Stand-in for a numpy array: remembers what the pickle says of it."""

    shape: tuple[int, ...] = ()

    def __init__(self, *_: object) -> None:
        self.parts: tuple[Any, bool, Any] = (None, False, b"")

    def __setstate__(self, state: Any) -> None:
        _, shape, number_type, is_column_major, raw = state
        if not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
            raise ValueError("a numpy array's shape is no tuple of numbers")
        self.shape = shape
        if isinstance(raw, str):  # Python 2's bytes
            raw = raw.encode("latin1")
        self.parts = number_type, is_column_major, raw

    def read(self) -> np.ndarray:
        """Return the array.

        Raises: ValueError for what is no array of plain numbers, or not a whole one.
        """
        number_type, is_column_major, raw = self.parts
        is_known = isinstance(number_type, _NumberType) and isinstance(raw, bytes)
        if not is_known or number_type.name not in _NUMBERS:
            raise ValueError("a numpy array of other things than numbers")
        flat = np.frombuffer(raw, np.dtype(number_type.order + number_type.name))
        if min(self.shape, default=0) < 0 or math.prod(self.shape) != flat.size:
            raise ValueError(
                f"a numpy array that claims the shape {self.shape} for {flat.size} "
                "numbers"
            )
        return flat.reshape(self.shape, order="F" if is_column_major else "C")


def stand_ins() -> list[StandIn | tuple[StandIn, str]]:
    """Return stand-ins with the names they stand for, as torch's `safe_globals` takes.

    New classes each time: a pickle may find a way to set attributes of a class.
    """

    class Dictionary(_Ignored):
        def __new__(cls, *arguments: Any) -> Any:
            items = [pairs for pairs in arguments[:1] if isinstance(pairs, list)]
            return collections.OrderedDict(*items)  # torch sets items on no other class

    class List(_Ignored):
        def __new__(cls, *_: object) -> Any:
            return []

    array: Any = type("Array", (RecordedArray,), {})
    found: list[StandIn | tuple[StandIn, str]] = [
        (array, "numpy.ndarray"),
        (type("NumberType", (_NumberType,), {}), "numpy.dtype"),
        (lambda *_: b"", "builtins.bytes"),  # none; others are written as text
    ]
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):
        found.append((lambda *_: array(), f"{module}._reconstruct"))
    for base, listed in ((_Ignored, _IGNORED), (Dictionary, _DICTIONARIES)):
        for name in _full_names(listed):
            found.append((type("StandIn", (base,), {}), name))
    return [*found, *((List, name) for name in _full_names(_LISTS))]


def _full_names(listed: dict[str, str]) -> list[str]:
    return [
        f"{module}.{name}" for module, names in listed.items() for name in names.split()
    ]
