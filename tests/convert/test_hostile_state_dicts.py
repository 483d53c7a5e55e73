"""Weights that are damaged, odd or hostile: read right, or one sentence."""

import json
import os
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from tokenjax import convert
from tokenjax.convert import zip_files
from tokenjax.convert.checkpoint_files import read_state_dict


def some_key(state):
    return next(key for key in state if key.endswith("qkv.weight"))


@pytest.mark.parametrize(
    ("value", "dtype", "part"),
    [
        (np.nan, np.float32, "not finite (NaN or infinite): 1 of 192 numbers of"),
        (np.inf, np.float16, "not finite (NaN or infinite): 1 of 192 numbers of"),
        (-1e300, np.float64, "too large for float32: 1 of 192 numbers of"),
    ],
)
def test_numbers_that_are_none_are_refused_by_key(model, state, value, dtype, part):
    broken = {key: array.copy() for key, array in state.items()}
    for key in ("cls_token", some_key(state)):
        broken[key] = broken[key].astype(dtype)
        broken[key].flat[0] = value
    with pytest.raises(convert.ConversionError, match="2 keys at fault") as error:
        convert.from_torch(model, broken)
    assert f"{part} {some_key(state)}" in str(error.value)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ">f4"])
def test_other_floats_become_float32(model, state, dtype):
    given = {key: array.astype(dtype) for key, array in state.items()}
    back = convert.to_torch(model, convert.from_torch(model, given))
    for key, array in given.items():
        assert back[key].dtype == np.float32
        np.testing.assert_array_equal(back[key], array.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64])
def test_other_types_are_refused(model, state, dtype):
    given = state | {"cls_token": state["cls_token"].astype(dtype)}
    with pytest.raises(convert.ConversionError, match="wrong type: cls_token is"):
        convert.from_torch(model, given)


def test_two_keys_that_become_one(model, state):
    given = state | {"module.cls_token": state["cls_token"] + 1}
    with pytest.raises(
        convert.ConversionError, match="cls_token twice, once as module"
    ):
        convert.from_torch(model, given)


def header(entries: dict, data: bytes, length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype: str, shape: list, start: int, end: int) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        header({}, b"", 2**60),
        header({"a": tensor("F32", [2], 0, 8)}, b"\0" * 4),
        header({"a": tensor("F32", [2], 0, 8)}, b"\0" * 80),
        header({k: tensor("F32", [2], 0, 8) for k in "ab"}, b"\0" * 8),
        header({"a": tensor("F32", [2**40], 0, 8)}, b"\0" * 8),
        header({"a": tensor("F32", [2**33, 2**33], 0, 8)}, b"\0" * 8),
        header({"a": tensor("F32", [2], 8, 0)}, b"\0" * 8),
        header({"a": tensor("F33", [2], 0, 8)}, b"\0" * 8),
        header({"a": tensor("F8_E4M3", [8], 0, 8)}, b"\0" * 8),
        header({"a": tensor("F32", [-2], 0, 8)}, b"\0" * 8),
    ],
)
def test_safetensors_that_lie(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    try:
        state = read_state_dict(path)
    except convert.ConversionError as error:
        assert "not a whole safetensors file" in str(error)  # noqa: PT017
    else:  # a type that numpy lacks, and a later check refuses
        assert [*state] == ["a"]
        assert not np.issubdtype(state["a"].dtype, np.floating)


def archive(path, members, compression=zipfile.ZIP_STORED) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "x/../../evil", "..\\evil", "x/data/../../../e"]
)
@pytest.mark.parametrize("constants", [[], [("x/constants.pkl", b"")]])
def test_names_outside_an_archive_are_refused(tmp_path, name, constants):
    members = [("x/data.pkl", pickle.dumps({})), *constants, (name, b"evil")]
    (tmp_path / "a").mkdir()
    path = archive(tmp_path / "a" / "weights.pt", members)
    with pytest.raises(convert.ConversionError, match="names a file outside itself"):
        read_state_dict(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "weights.pt"]


def test_an_archive_that_grows_is_refused(tmp_path):
    bomb = archive(
        tmp_path / "bomb.pt",
        [("x/data.pkl", pickle.dumps({})), ("x/data/0", bytes(50_000_000))],
        zipfile.ZIP_DEFLATED,
    )
    assert bomb.stat().st_size < 100_000
    with pytest.raises(convert.ConversionError, match="PyTorch compresses no weights"):
        read_state_dict(bomb)


def test_an_archive_that_lies_about_sizes_is_refused(tmp_path):
    path = archive(tmp_path / "x.pt", [("x/data/0", b"12345678")])
    raw = path.read_bytes()
    entry = raw.index(b"PK\x01\x02")
    huge = struct.pack("<II", 2**31, 2**31)  # stored and real size of the first member
    path.write_bytes(raw[: entry + 20] + huge + raw[entry + 28 :])
    with pytest.raises(
        convert.ConversionError, match="claims to hold 2147483648 bytes"
    ):
        read_state_dict(path)


def test_an_archive_in_several_parts_is_refused(tmp_path):
    path = archive(tmp_path / "x.pt", [("x/data/0", b"1")])
    raw = bytearray(path.read_bytes())
    # A locator of a 64-bit directory, on the first of nine disks.
    end = raw.index(b"PK\x05\x06")
    raw[end:end] = b"PK\x06\x07" + struct.pack("<IQI", 0, 0, 9)
    path.write_bytes(raw)
    with pytest.raises(convert.ConversionError, match="span multiple disks"):
        read_state_dict(path)


def test_two_members_of_one_name_are_refused(tmp_path):
    members = [("x/data/0", b"1"), ("x/data/0", b"2")]
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "x.pt", members)
    with pytest.raises(convert.ConversionError, match="have the same name"):
        zip_files.check(path)


def test_a_torchscript_pickle_cannot_set_memory_aside(tmp_path):
    """C's unpickler would take 17 GB for this place in its memo."""
    members = [
        ("x/data.pkl", b"\x80\x02K\x01r\xff\xff\xff\x7f."),
        ("x/constants.pkl", b""),
    ]
    path = archive(tmp_path / "x.pt", members)
    with pytest.raises(convert.ConversionError, match="not a whole TorchScript"):
        read_state_dict(path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "x.pt").mkdir()
    os.mkfifo(tmp_path / "y.safetensors")
    for name in ("x.pt", "y.safetensors"):
        with pytest.raises(convert.ConversionError, match="no checkpoint file"):
            read_state_dict(tmp_path / name)


def test_an_empty_file(tmp_path):
    pytest.importorskip("torch", minversion="2.10")
    (tmp_path / "z.pt").write_bytes(b"")
    with pytest.raises(convert.ConversionError, match="not a whole PyTorch checkpoint"):
        read_state_dict(tmp_path / "z.pt")


def test_safetensors_are_read_back(tmp_path, state):
    safetensors.numpy.save_file(state, tmp_path / "x.safetensors")
    read = read_state_dict(tmp_path / "x.safetensors")
    assert read.keys() == state.keys()
