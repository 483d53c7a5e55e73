"""Files are known by their content; shards and directories are read."""

import gzip
import json
import shutil
import tarfile

import numpy as np
import pytest
import safetensors.numpy

from tokenjax import convert
from tokenjax.convert.checkpoint_files import read_state_dict


def assert_is(read, state):
    assert read.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(np.asarray(read[key]), array)


def test_numbers_of_half_a_byte_are_refused_by_type(tmp_path):
    entry = {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}
    header = json.dumps({"a": entry}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(convert.ConversionError, match="a has numbers of type F4"):
        read_state_dict(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["x.bin", "x.pth", "x", "x.safetensors", "x.SAFE"])
def test_safetensors_under_any_name(tmp_path, state, name):
    safetensors.numpy.save_file(state, tmp_path / name, metadata={"format": "pt"})
    assert_is(read_state_dict(tmp_path / name), state)
    assert_is(read_state_dict(str(tmp_path / name)), state)


def test_a_pickle_named_safetensors(tmp_path, state):
    torch = pytest.importorskip("torch", minversion="2.10")
    tensors = {key: torch.from_numpy(array) for key, array in state.items()}
    for new in (True, False):
        path = tmp_path / "x.safetensors"
        torch.save({"model": tensors}, path, _use_new_zipfile_serialization=new)
        assert_is(read_state_dict(path), state)


def test_what_safetensors_hold_that_numpy_lacks(tmp_path):
    torch = pytest.importorskip("torch", minversion="2.10")
    save = pytest.importorskip("safetensors.torch").save_file
    types = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16"]
    types += ["float32", "float64", "float8_e4m3fn", "float8_e5m2", "complex64"]
    numbers = torch.tensor([[0, 1, 2], [3, 0.5, 6]])
    given = {name: numbers.to(getattr(torch, name)) for name in types}
    given |= {"none": torch.zeros(0, 3), "one": torch.tensor(2.5)}
    save(given, tmp_path / "x")
    read = read_state_dict(tmp_path / "x")
    assert read.keys() == given.keys()
    for name, tensor in given.items():
        assert read[name].shape == tensor.shape
        widened = tensor.to(torch.complex64 if name == "complex64" else torch.float64)
        np.testing.assert_array_equal(read[name].astype(widened.numpy().dtype), widened)


def write_shards(directory, state, number=3, base="model", save=None, ending=None):
    save = save or safetensors.numpy.save_file
    ending = ending or "safetensors"
    keys, weight_map = [*state], {}
    for index in range(number):
        name = f"{base}-{index + 1:05}-of-{number:05}.{ending}"
        part = {key: state[key] for key in keys[index::number]}
        save(part, directory / name)
        weight_map |= dict.fromkeys(part, name)
    index = directory / f"{base}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "any.index.json"])
def test_shards(tmp_path, model, state, name):
    index = write_shards(tmp_path, state).rename(tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    for path in (index, tmp_path):
        read = read_state_dict(path)
        assert_is(read, state)
        assert_is(convert.to_torch(model, convert.from_torch(model, read)), state)


def test_shards_that_torch_wrote(tmp_path, state):
    torch = pytest.importorskip("torch", minversion="2.10")
    tensors = {key: torch.from_numpy(array) for key, array in state.items()}
    write_shards(tmp_path, tensors, 2, "pytorch_model", torch.save, "bin")
    assert_is(read_state_dict(tmp_path), state)


def test_part_of_shards(tmp_path, state):
    both = {f"{part}.{k}": array for part in "ab" for k, array in state.items()}
    index = write_shards(tmp_path, both)
    part = read_state_dict(index, key="b")
    assert_is(part, {f"b.{key}": array for key, array in state.items()})


def change(index, **entries):
    content = json.loads(index.read_text())
    content["weight_map"] |= entries
    index.write_text(json.dumps(content))


def test_shards_that_do_not_agree(tmp_path, state):
    def expect(part, alter):
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        (tmp_path / "s").mkdir()
        alter(write_shards(tmp_path / "s", state))
        with pytest.raises(convert.ConversionError) as caught:
            read_state_dict(tmp_path / "s")
        assert part in str(caught.value)

    first = "model-00001-of-00003.safetensors"
    expect(f"{first} is missing", lambda index: (index.parent / first).unlink())
    expect(f"{first} lacks extra", lambda index: change(index, extra=first))
    expect(
        "holds, unlike the index says,",
        lambda i: change(i, cls_token="model-00002-of-00003.safetensors"),
    )
    for name in ("../x.safetensors", "/etc/passwd", "a/b", "..", "", 3):
        expect("names a file outside", lambda index, name=name: change(index, a=name))

    def name_an_index(index):
        (index.parent / "0").write_bytes(index.read_bytes())
        change(index, extra="0")

    expect("an index of shards, not weights", name_an_index)
    expect("not a whole index", lambda index: index.write_text("{"))
    expect("has a weight_map", lambda index: index.write_text("{}"))
    expect("has a weight_map", lambda index: index.write_text('{"weight_map": [1]}'))
    expect("not a whole index", lambda index: index.write_text('{"a": ' * 100_000))


def test_a_directory_with_one_file_of_weights(tmp_path, state):
    with pytest.raises(convert.ConversionError, match="no checkpoint file in"):
        read_state_dict(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    safetensors.numpy.save_file(state, tmp_path / "best.ckpt")
    assert_is(read_state_dict(tmp_path), state)
    other = {key: array + 1 for key, array in state.items()}
    safetensors.numpy.save_file(other, tmp_path / "last.ckpt")
    with pytest.raises(convert.ConversionError, match=r"\(best\.ckpt, last\.ckpt\)"):
        read_state_dict(tmp_path)
    safetensors.numpy.save_file(other, tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(b"damaged")
    assert_is(read_state_dict(tmp_path), other)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (gzip.compress(b"weights", mtime=0), "gzip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"{}", "neither weights nor an index"),
    ],
)
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.bin"])
def test_what_people_have_instead(tmp_path, content, part, name):
    (tmp_path / name).write_bytes(content)
    if content == b"{}" and name == "x.safetensors":
        part = "not a whole safetensors file"
    with pytest.raises(convert.ConversionError, match=part):
        read_state_dict(tmp_path / name)


def test_a_tar_archive_is_said(tmp_path, state):
    safetensors.numpy.save_file(state, tmp_path / "x.safetensors")
    with tarfile.open(tmp_path / "x.pth.tar", "w") as archive:
        archive.add(tmp_path / "x.safetensors", "x.safetensors")
    with pytest.raises(convert.ConversionError, match="a tar archive: unpack"):
        read_state_dict(tmp_path / "x.pth.tar")


def test_a_part_that_is_not_there(tmp_path, state):
    safetensors.numpy.save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(convert.ConversionError, match="no part 'ema'; its parts: 'blo"):
        read_state_dict(tmp_path / "x.safetensors", key="ema")
