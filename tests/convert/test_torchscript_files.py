"""TorchScript archives: tensors are read, nothing is run."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from tokenjax import convert
from tokenjax.convert.checkpoint_files import read_state_dict


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write(path, data, records=(), byteorder=None):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/constants.pkl", pickle.dumps((), protocol=2))
        for name, raw in records:
            archive.writestr(f"archive/data/{name}", raw)
        if byteorder:
            archive.writestr("archive/byteorder", byteorder)


def tensor_pickle(size, stride, offset=0):
    """A module with one float32 tensor "weight", by hand."""
    tuples = b"".join(pickle.dumps(value, protocol=2)[2:-1] for value in (size, stride))
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuK\x06tQ"
    )
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + pickle.dumps(offset, protocol=2)[2:-1]
        + tuples
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )
    head = b"\x80\x02c__torch__.net\nNet\n)\x81}(X\x06\x00\x00\x00weight"
    return head + tensor + b"ub."


SIX = [("0", np.arange(6, dtype="<f4").tobytes())]


def test_a_tensor_with_strides_and_an_offset(tmp_path):
    path = tmp_path / "model.pt"
    write(path, tensor_pickle((2, 2), (1, 3), 1), SIX)
    weight = read_state_dict(path)["weight"]
    np.testing.assert_array_equal(weight, [[1, 4], [2, 5]])
    write(path, tensor_pickle((), (), 3), SIX)
    assert read_state_dict(path)["weight"] == 3
    write(path, tensor_pickle((0, 3), (3, 1)), SIX)
    assert read_state_dict(path)["weight"].shape == (0, 3)


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((7,), (1,), 0),
        ((2, 2), (1, 3), 3),
        ((2,), (1,), -1),
        ((2,), (-1,), 3),
        ((10**12,), (0,), 0),
        ((2, 2), (1,), 0),
    ],
)
def test_a_tensor_outside_its_storage(tmp_path, size, stride, offset):
    write(tmp_path / "model.pt", tensor_pickle(size, stride, offset), SIX)
    with pytest.raises(convert.ConversionError, match="not a whole TorchScript"):
        read_state_dict(tmp_path / "model.pt")


def test_code_is_refused_and_not_run(tmp_path):
    proof, path = tmp_path / "code_ran", tmp_path / "model.pt"
    for data in (
        pickle.dumps(Call(os.mkdir, str(proof)), protocol=2),
        pickle.dumps(Call(eval, f"__import__('os').mkdir({str(proof)!r})"), protocol=2),
        b"\x80\x02cbuiltins\ngetattr\n.",
        b"\x80\x04X\x05\x00\x00\x00torchX\x08\x00\x00\x00os.mkdir\x93.",  # dotted
        b"\x80\x02ctorch._utils\n_rebuild_tensor\n.",
    ):
        write(path, data)
        with pytest.raises(convert.ConversionError, match="refused, the pickle names"):
            read_state_dict(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02K\x01.",  # a number where a module is due
        b"\x80\x02c__torch__.net\nNet\n.",  # the class, not a module
        # state for the class and for the function, not for a module
        b"\x80\x02c__torch__.net\nNet\n}X\x01\x00\x00\x00aK\x01sb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",
    ],
)
def test_no_module_in_it(tmp_path, data):
    write(tmp_path / "model.pt", data, SIX)
    with pytest.raises(convert.ConversionError, match="not a whole TorchScript"):
        read_state_dict(tmp_path / "model.pt")


def test_big_endian_is_refused(tmp_path):
    write(tmp_path / "model.pt", tensor_pickle((6,), (1,)), SIX, b"big")
    with pytest.raises(convert.ConversionError, match="big-endian"):
        read_state_dict(tmp_path / "model.pt")


def test_a_module_within_itself_ends(tmp_path):
    data = b"\x80\x02c__torch__.net\nNet\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb."
    write(tmp_path / "model.pt", data)
    assert read_state_dict(tmp_path / "model.pt") == {}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_torch_saves(tmp_path):
    torch = pytest.importorskip("torch", minversion="2.10")
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).half()
    module[0].weight.data = torch.randn(3, 2).half().T
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(module.eval(), torch.ones(1, 3).half()), path)
    state, expected = read_state_dict(path), module.state_dict()
    assert set(state) == set(expected)
    for key, value in expected.items():
        assert state[key].dtype == value.numpy().dtype
        np.testing.assert_array_equal(state[key], value.numpy())


def test_an_ordinary_file_is_none(tmp_path):
    torch = pytest.importorskip("torch", minversion="2.10")
    torch.save({"weight": torch.ones(2)}, tmp_path / "plain.pt")
    assert isinstance(read_state_dict(tmp_path / "plain.pt")["weight"], torch.Tensor)
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pt").write_bytes(buffer.getvalue())
    assert isinstance(read_state_dict(tmp_path / "old.pt")["weight"], torch.Tensor)
