"""PyTorch files that are odd or hostile; skipped where torch is not installed."""

import collections
import os
import pickle
import zipfile

import numpy as np
import pytest

from tokenjax import convert
from tokenjax.convert.checkpoint_files import read_state_dict

torch = pytest.importorskip("torch", minversion="2.10")


class Malicious:
    """On loading makes a folder, if anyone lets it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def save(path, content, **options):
    torch.save(content, path, **options)
    return path


def tensors(state):
    return {key: torch.from_numpy(array) for key, array in state.items()}


@pytest.mark.parametrize(
    "wrappers",
    [
        ["model_state_dict"],
        ["module", "model"],
        ["state_dict", "model", "module"],
        ["net"],
        ["ema"],
        ["model_ema", "state_dict"],
    ],
)
def test_wrappers_within_wrappers(tmp_path, state, wrappers, caplog):
    content = tensors(state)
    for key in reversed(wrappers):
        content = {"epoch": 3, key: content, "optimizer": {"lr": 0.1}}
    read = read_state_dict(save(tmp_path / "x.pt", content))
    assert {key: value.numpy().tolist() for key, value in read.items()} == {
        key: value.tolist() for key, value in state.items()
    }
    assert not caplog.records


def test_averaged_weights_come_first_and_are_said(tmp_path, state, caplog):
    plain = tensors(state)
    averaged = {key: value + 1 for key, value in plain.items()}
    path = save(tmp_path / "x.pt", {"model": plain, "ema": averaged})
    assert read_state_dict(path)["cls_token"].equal(averaged["cls_token"])
    assert "the averaged weights, 'ema', are taken, not 'model'" in caplog.text


def test_what_is_no_state_dict(tmp_path):
    endless: dict = {}
    endless["model"] = endless
    for content, part in (
        ([1, 2], "holds no state_dict of tensors"),
        ({"a": torch.ones(2), "epoch": 3}, "'epoch' is a int"),
        ({3: torch.ones(2)}, "3 is a Tensor"),
        ({"model": {"lr": 0.1}}, r"\['model'\]: holds no .* 'lr' is a float"),
        (endless, "holds no state_dict of tensors"),
    ):
        with pytest.raises(convert.ConversionError, match=part):
            read_state_dict(save(tmp_path / "x.pt", content))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("variable", ["0", "1"])
def test_no_code_is_run(tmp_path, monkeypatch, protocol, variable):
    """Not for the environment variable that makes torch less careful either."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", variable)
    proof = tmp_path / "code_ran"
    content = {"a": Malicious(proof)}
    raw = pickle.dumps(content, protocol=protocol)
    zipped = tmp_path / "zip.pth"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("x/data.pkl", raw)
    files = [
        save(tmp_path / "torch.pth", content),
        save(tmp_path / "old.pth", content, _use_new_zipfile_serialization=False),
        zipped,
    ]
    (tmp_path / "plain.pth").write_bytes(raw)
    for path in [*files, tmp_path / "plain.pth"]:
        with pytest.raises(convert.ConversionError, match=r"could run code|not a whol"):
            read_state_dict(path)
    assert not proof.exists()


def test_a_flipped_bit_is_found(tmp_path):
    """torch.load returns other weights: it checks no checksums."""
    path = save(tmp_path / "x.pt", {"a": torch.arange(1000.0)})
    raw = bytearray(path.read_bytes())
    raw[raw.index(np.arange(1000, dtype="<f4").tobytes()) + 2000] ^= 1
    path.write_bytes(raw)
    assert not torch.load(path)["a"].equal(torch.arange(1000.0))
    with pytest.raises(convert.ConversionError, match=r"Bad CRC-32 .* is damaged"):
        read_state_dict(path)


def test_a_tensor_of_one_number_a_billion_times(tmp_path):
    path = save(tmp_path / "x.pt", {"a": torch.ones(1).expand(2**40)})
    with pytest.raises(convert.ConversionError, match="claim 4398046511104 bytes"):
        read_state_dict(path)
    tied = torch.ones(1000)
    path = save(tmp_path / "x.pt", {"a": tied, "b": tied})
    assert [*read_state_dict(path)] == ["a", "b"]


def test_tensors_that_are_not_ordinary(model, state):
    sparse = torch.ones(1, 1, 8).to_sparse()
    quantised = torch.quantize_per_tensor(torch.ones(1, 1, 8), 0.1, 0, torch.qint8)
    for odd in (sparse, quantised, torch.ones(1, 1, 8, device="meta")):
        with pytest.raises(convert.ConversionError, match="cls_token is no ordinary"):
            convert.from_torch(model, state | {"cls_token": odd})


def test_float64_that_float32_cannot_hold(model, state):
    large = torch.full((1, 1, 8), 1e300, dtype=torch.float64)
    with pytest.raises(convert.ConversionError, match="too large for float32: 8 of"):
        convert.from_torch(model, state | {"cls_token": large})


def test_an_ordered_dict_with_metadata(tmp_path, state):
    content = collections.OrderedDict(tensors(state))
    content._metadata = collections.OrderedDict(version=1)
    assert read_state_dict(save(tmp_path / "x.pt", content)).keys() == state.keys()
