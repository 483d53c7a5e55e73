"""Weights as the bytes of a file, in each format that `tokenjax.convert` reads."""

import io
import struct
import zipfile
from collections.abc import Iterable

import numpy as np

State = dict[str, np.ndarray]


def torch_bytes(content: object, old: bool = False) -> bytes:
    """Save nested dicts of arrays by torch.save; `old`: as before PyTorch 1.6."""
    import torch

    def tensors(value: object) -> object:
        if isinstance(value, dict):
            return {key: tensors(item) for key, item in value.items()}
        if isinstance(value, np.ndarray):
            return torch.from_numpy(value)
        return value

    file = io.BytesIO()
    torch.save(tensors(content), file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def safetensors_bytes(state: State) -> bytes:
    """Save weights by safetensors."""
    import safetensors.numpy

    return safetensors.numpy.save(state)


def torchscript_bytes(state: State) -> bytes:
    """Lay weights out as torch.jit.save does a module with such attributes."""
    file, records = io.BytesIO(), []
    body = b"\x80\x02c__torch__.net\nNet\n)\x81}("
    for number, (key, array) in enumerate(state.items()):
        strides = [step // 4 for step in array.strides]
        storage = _text("storage") + b"ctorch\nFloatStorage\n" + _text(str(number))
        storage += _text("cpu") + _whole(array.size)
        body += _text(key) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQ"
        body += _whole(0) + _tuple(array.shape) + _tuple(strides)
        body += b"\x89ccollections\nOrderedDict\n)RtR"
        records.append((f"archive/data/{number}", array.tobytes()))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", body + b"ub.")
        archive.writestr("archive/constants.pkl", b"\x80\x02).")
        for name, raw in records:
            archive.writestr(name, raw)
    return file.getvalue()


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(values: Iterable[int]) -> bytes:
    return b"(" + b"".join(_whole(value) for value in values) + b"t"


def zip_bytes(members: list[tuple[str, bytes]], packed: bool = False) -> bytes:
    """Make a zip file of these members, packed or stored."""
    file = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()
