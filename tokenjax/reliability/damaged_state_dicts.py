"""Weights for `fuzz`: a small model's, in every format, odd, damaged and hostile.

What must hold:
- weights of an odd but honest kind (another float type, wrapped, prefixed) convert to
  the numbers that they are in float32;
- after damage, formats with checksums (PyTorch's zip) give the right numbers or none;
  .safetensors and PyTorch's old format have none: numbers may differ, and are finite,
  of the right shapes, and under the right keys all the same;
- NaN, infinite, missing, doubled, misshapen and whole-number weights are refused, and
  so is every archive that names files outside itself, packs, or lies about sizes;
- no code in a pickle is ever run: a folder it would make is looked for.
"""

import functools
import io
import json
import os
import pathlib
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from tokenjax import convert, models
from tokenjax.convert.checkpoint_files import read_state_dict
from tokenjax.errors import ConversionError
from tokenjax.reliability import damage
from tokenjax.reliability.weight_files import (
    State,
    safetensors_bytes,
    torch_bytes,
    torchscript_bytes,
    zip_bytes,
)

Random = np.random.Generator
Case = tuple[State | None, bool]  # what it must become, whether it must be refused
Made = tuple[pathlib.Path, Case]  # the file, and what must become of it

MODEL = {"img_size": 8, "patch_size": 4, "embed_dim": 4, "depth": 1, "num_heads": 2}
SENTINEL = "code_ran"


@functools.cache
def _model() -> nn.Module:
    return models.create("vit", **MODEL)


@functools.cache
def _shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of the model's state_dict by key."""
    import jax

    model = _model()
    tree = jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs(1))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), tree)
    return {key: array.shape for key, array in convert.to_torch(model, zeros).items()}


def run(seed: int, directory: pathlib.Path) -> str:
    """Convert the weights that the seed makes, there and back.

    See `tokenjax.reliability.fuzz`.
    """
    random = np.random.default_rng(seed)
    state = {
        key: random.standard_normal(shape).astype(np.float32)
        for key, shape in _shapes().items()
    }
    kind = list(KINDS)[random.integers(len(KINDS))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's of doubled names, torch's of age
        path, (expected, must_refuse) = KINDS[kind](state, directory, random)
        if kind == "code" and random.integers(2):
            os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
        try:
            back = _read(path)
        except ConversionError as error:
            if expected is not None:
                raise AssertionError(f"{kind} refused: {error}") from error
            result = f"refused: {kind}: {' '.join(str(error).split())}"
        else:
            _check(back, state, expected, must_refuse, kind)
            result = f"handled: {kind}"
        finally:
            os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    if list(directory.parent.rglob(SENTINEL)):
        raise AssertionError(f"{kind}: code in the file was run")
    return result


def _read(path: pathlib.Path) -> State:
    model = _model()
    return convert.to_torch(model, convert.from_torch(model, read_state_dict(path)))


def _check(
    back: State, state: State, expected: State | None, must_refuse: bool, kind: str
) -> None:
    if must_refuse:
        raise AssertionError(f"{kind}: was read")
    if back.keys() != state.keys():
        raise AssertionError(f"{kind}: other keys")
    for key, array in back.items():
        if array.shape != state[key].shape or not np.isfinite(array).all():
            raise AssertionError(f"{kind}: {key} came back misshapen or not finite")
        if expected is not None and not np.array_equal(array, expected[key]):
            raise AssertionError(f"{kind}: {key} came back with other numbers")


def _write(directory: pathlib.Path, name: str, content: bytes) -> pathlib.Path:
    path = directory / name
    path.write_bytes(content)
    return path


def _formats(state: State) -> dict[str, bytes]:
    """Return the content of a file of each format, by its name."""
    return {
        "new.pt": torch_bytes(state),
        "old.pth": torch_bytes(state, old=True),
        "script.pt": torchscript_bytes(state),
        "x.safetensors": safetensors_bytes(state),
    }


def _some_format(state: State, directory: pathlib.Path, random: Random) -> pathlib.Path:
    contents = _formats(state)
    name = list(contents)[random.integers(len(contents))]
    return _write(directory, name, contents[name])


def _whole_file(state: State, directory: pathlib.Path, random: Random) -> Made:
    return _some_format(state, directory, random), (state, False)


def _other_floats(state: State, directory: pathlib.Path, random: Random) -> Made:
    dtype = [np.float64, np.float16][random.integers(2)]
    given = {key: array.astype(dtype) for key, array in state.items()}
    expected = {key: array.astype(np.float32) for key, array in given.items()}
    return _new_format(given, directory, random), (expected, False)


def _wrapped(state: State, directory: pathlib.Path, random: Random) -> Made:
    names = ("state_dict", "model", "module", "ema", "model_ema", "model_state_dict")
    content: dict[str, Any] = dict(state)
    if random.integers(2):
        prefix = str(random.choice(["module.", "model.", "module.model."]))
        content = {prefix + key: array for key, array in state.items()}
    for _ in range(int(random.integers(1, 4))):
        content = {str(random.choice(names)): content, "epoch": 3, "optimizer": {}}
    return _write(directory, "x.pt", torch_bytes(content)), (state, False)


def _wrong_values(state: State, directory: pathlib.Path, random: Random) -> Made:
    """Write weights with one key at fault, in one of many ways."""
    key = list(state)[random.integers(len(state))]
    array = state[key]
    dtype, value = [
        (np.float32, np.nan),
        (np.float16, np.inf),
        (np.float64, -np.inf),
        (np.float64, 1e300),
    ][random.integers(4)]
    poisoned = array.astype(dtype)
    poisoned.flat[random.integers(array.size)] = value
    wrong: list[dict[str, np.ndarray]] = [
        {key: poisoned},
        {key: array.astype(np.int32)},
        {key: array[None]},
        {key: np.zeros((0,), np.float32)},
        {f"module.{key}": array},
        {f"{key}.more": array},
    ]
    number = int(random.integers(len(wrong) + 1))
    broken = {k: v for k, v in state.items() if number < len(wrong) or k != key}
    broken |= wrong[number] if number < len(wrong) else {}
    return _new_format(broken, directory, random), (None, True)


def _new_format(state: State, directory: pathlib.Path, random: Random) -> pathlib.Path:
    name, content = [
        ("x.pt", torch_bytes(state)),
        ("x.safetensors", safetensors_bytes(state)),
    ][random.integers(2)]
    return _write(directory, name, content)


def _damaged_zip(state: State, directory: pathlib.Path, random: Random) -> Made:
    """Write a damaged zip, which has checksums: it is right or refused."""
    content = torch_bytes(state) if random.integers(2) else torchscript_bytes(state)
    path = _write(directory, "x.pt", damage.damaged(content, random))
    try:
        back = _read(path)
    except ConversionError:
        return path, (None, True)
    return path, (state if back.keys() == state.keys() else None, False)


def _damaged_other(state: State, directory: pathlib.Path, random: Random) -> Made:
    name, content = [
        ("x.pt", torch_bytes(state, old=True)),
        ("x.safetensors", safetensors_bytes(state)),
    ][random.integers(2)]
    return _write(directory, name, damage.damaged(content, random)), (None, False)


class _Code:
    """Object whose pickle makes a folder when it is loaded, if anyone lets it."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.call = os.mkdir, (str(directory / SENTINEL),)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return self.call


def _code(state: State, directory: pathlib.Path, random: Random) -> Made:
    content: dict[str, Any] = {**state, "payload": _Code(directory)}
    raw = pickle.dumps({"payload": _Code(directory)}, int(random.integers(5)))
    contents = [torch_bytes(content), torch_bytes(content, old=True), raw]
    for extra in ([], [("x/constants.pkl", b"\x80\x02).")]):
        contents.append(zip_bytes([("x/data.pkl", raw), *extra]))
    chosen = contents[random.integers(len(contents))]
    return _write(directory, "x.pth", chosen), (None, True)


def _hostile_zip(state: State, directory: pathlib.Path, random: Random) -> Made:
    """Write names outside, bombs, doubled members or lies about sizes."""
    good = torch_bytes(state) if random.integers(2) else torchscript_bytes(state)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    way = int(random.integers(4))
    if way == 0:
        names = ("../evil", "/tmp/evil", "x/../../evil", "..\\evil")
        content = zip_bytes([*members, (names[random.integers(4)], b"evil")])
    elif way == 1:
        content = zip_bytes([*members, ("archive/data/99", bytes(10**6))], packed=True)
    elif way == 2:
        content = zip_bytes([*members, members[random.integers(len(members))]])
    else:
        content = zip_bytes(members)
        place = content.index(b"PK\x01\x02") + 20
        lie = struct.pack("<II", *[int(random.integers(2**24, 2**32))] * 2)
        content = content[:place] + lie + content[place + 8 :]
    return _write(directory, "x.pt", content), (None, True)


def _lying_safetensors(state: State, directory: pathlib.Path, random: Random) -> Made:
    content = safetensors_bytes(state)
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    entry = header[list(state)[random.integers(len(state))]]
    lies: list[Callable[[], Any]] = [
        lambda: entry.update(data_offsets=[0, 4]),
        lambda: entry.update(shape=[2**40]),
        lambda: entry.update(shape=[2**33, 2**33]),
        lambda: entry.update(dtype="F64"),
        lambda: entry.update(dtype="Q7"),
        lambda: entry.update(data_offsets=[2**62, 2**63]),
        lambda: entry.update(data_offsets=[-4, 4]),
        lambda: entry.update(shape=[-1]),
        lambda: entry.pop("shape"),
        lambda: header.update(more=dict(entry)),
    ]
    lies[random.integers(len(lies))]()
    text = json.dumps(header).encode()
    claimed = len(text) if random.integers(4) else int(random.integers(2**62))
    content = struct.pack("<Q", claimed) + text + content[8 + length :]
    return _write(directory, "x.safetensors", content), (None, True)


def _no_weights(state: State, directory: pathlib.Path, random: Random) -> Made:
    contents = [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), random.bytes(300)]
    contents += (torch_bytes([1, 2]), torch_bytes({"epoch": 3}), b"{}", b"\x80\x02.")
    content = contents[random.integers(len(contents))]
    name = str(random.choice(["x.pt", "x.safetensors", "x.pth.tar", "x.bin"]))
    return _write(directory, name, content), (None, True)


KINDS: dict[str, Callable[[State, pathlib.Path, Random], Made]] = {
    "whole": _whole_file,
    "other floats": _other_floats,
    "wrapped": _wrapped,
    "wrong values": _wrong_values,
    "damaged zip": _damaged_zip,
    "more damaged zip": _damaged_zip,
    "damaged without checksums": _damaged_other,
    "more damaged without checksums": _damaged_other,
    "code": _code,
    "hostile zip": _hostile_zip,
    "lying safetensors": _lying_safetensors,
    "no weights": _no_weights,
}
