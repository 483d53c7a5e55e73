"""Real PyTorch files; skipped where torch is not installed (CI installs it)."""

import os
import pathlib
import pickle

import numpy as np
import pytest
from helpers import training_runs

from tokenjax import convert, models
from tokenjax.convert.checkpoint_files import read_state_dict

torch = pytest.importorskip("torch", minversion="2.10")


class Malicious:
    """On loading makes a file, if anyone lets it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, writer):
    weights, proof = tmp_path / "weights.pth", tmp_path / "code_ran"
    content = {"norm.weight": torch.ones(3), "payload": Malicious(proof)}
    if writer == "torch":
        torch.save(content, weights)
    else:
        weights.write_bytes(pickle.dumps({"payload": Malicious(proof)}))
    finished = training_runs.run(
        "-m tokenjax.convert",
        *["--model", "vdpa", "--checkpoint", weights, "--output", tmp_path / "out"],
    )
    assert finished.returncode == 2
    assert "refused" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not proof.exists()
    assert not (tmp_path / "out").exists()


def test_wrong_shape(tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save({"head.weight": torch.ones(9, 9)}, weights)
    finished = training_runs.run(
        "-m tokenjax.convert",
        *["--model", "vdpa", "--checkpoint", weights, "--output", tmp_path / "out"],
        "--model.depth=1",
    )
    assert finished.returncode == 2
    assert "wrong shape: head.weight is (9, 9), this model's is (2, 768)" in (
        finished.stderr
    )


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_state_dict_in_and_out(golden, tmp_path, wrapper, dtype):
    case = golden("vdpa/model")
    valid = models.argument_names("vdpa")
    arguments = case.meta["constructor_args"]
    model = models.create("vdpa", **{k: arguments[k] for k in valid if k in arguments})
    tensors = {
        key: torch.from_numpy(np.array(value))
        for key, value in case.group("state").items()
    }
    tensors = {
        key: value.to(getattr(torch, dtype)) if value.is_floating_point() else value
        for key, value in tensors.items()
    }
    path = pathlib.Path(tmp_path / "weights.pt")
    torch.save({wrapper: tensors, "epoch": 3} if wrapper else tensors, path)
    variables = convert.from_torch(model, read_state_dict(path))
    back = convert.to_torch(model, variables)
    for key, value in tensors.items():
        expected = value.float() if value.is_floating_point() else value
        np.testing.assert_array_equal(back[key], expected.numpy())


def test_truncated(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(100, 100)}, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(convert.ConversionError, match="not a whole PyTorch checkpoint"):
        read_state_dict(path)
