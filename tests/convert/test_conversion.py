"""Conversion: strict, exact both ways, and safe."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from helpers import training_runs

from tokenjax import convert, models, storage
from tokenjax.convert.checkpoint_files import read_state_dict

CASES = {"vdpa": "vdpa/model", "vit": "cifar_vit/vit"}


@pytest.fixture(scope="module")
def cases(golden):
    found = {}
    for name, path in CASES.items():
        case = golden(path)
        valid = models.argument_names(name)
        recorded = case.meta["constructor_args"]
        recorded = recorded.get("model", recorded)
        arguments = {key: value for key, value in recorded.items() if key in valid}
        found[name] = models.create(name, **arguments), arguments, case.group("state")
    return found


@pytest.mark.parametrize("name", CASES)
def test_round_trip_is_exact(cases, name):
    model, _, state = cases[name]
    back = convert.to_torch(model, convert.from_torch(model, state))
    assert set(back) == set(state)
    for key, expected in state.items():
        assert back[key].shape == expected.shape, key
        assert back[key].dtype == expected.dtype, key
        np.testing.assert_array_equal(back[key], expected)


def test_vit_agrees_with_the_recorded_one(golden, cases, assert_close):
    case, (model, _, state) = golden(CASES["vit"]), cases["vit"]
    images = case["input/images"].transpose(0, 2, 3, 1)
    variables = convert.from_torch(model, state)
    logits, _ = jax.jit(model.apply)(variables, images)
    assert_close(logits, case["output/logits"], 1e-5, "logits")


def test_all_faults_are_listed_at_once(cases):
    model, _, state = cases["vdpa"]
    broken = dict(state)
    del broken["norm.weight"]
    broken["extra.weight"] = np.zeros((2, 3), np.float32)
    broken["head.weight"] = np.zeros((9, 48), np.float32)
    broken["neighbor_idx"] = np.zeros((4, 9), np.int64)
    broken["pos_embed"] = broken["pos_embed"].astype(np.int32)
    with pytest.raises(convert.ConversionError) as caught:
        convert.from_torch(model, broken)
    message = str(caught.value)
    for part in (
        "5 keys at fault",
        "missing: norm.weight",
        "unexpected: extra.weight (2, 3)",
        "wrong shape: head.weight is (9, 48), this model's is (5, 48)",
        "wrong buffer: neighbor_idx (4, 9)",
        "wrong type: pos_embed is int32",
    ):
        assert part in message


def test_prefixes_are_stripped(cases):
    model, _, state = cases["vdpa"]
    prefixed = {f"module.model.{key}": value for key, value in state.items()}
    plain = convert.from_torch(model, state)
    stripped = convert.from_torch(model, prefixed)
    jax.tree.map(np.testing.assert_array_equal, plain, stripped)


def test_to_torch_refuses_another_models_variables(cases):
    vdpa, vit = cases["vdpa"][0], cases["vit"]
    variables = convert.from_torch(vit[0], vit[2])
    with pytest.raises(convert.ConversionError, match=r"missing: params/.*vdfc"):
        convert.to_torch(vdpa, variables)


def flags(arguments):
    return [f"--model.{key}={value}" for key, value in arguments.items()]


def test_the_command_and_what_reads_it(cases, tmp_path):
    """weights -> converted checkpoint -> a run that starts from them, and eval.py."""
    _, arguments, state = cases["vdpa"]
    weights, output = tmp_path / "weights.safetensors", tmp_path / "converted"
    safetensors.numpy.save_file(state, weights)
    finished = training_runs.run(
        "-m tokenjax.convert",
        *["--model", "vdpa", "--checkpoint", weights, "--output", output],
        *flags(arguments),
    )
    assert finished.returncode == 0, finished.stderr
    variables, metadata = storage.load_variables(output)
    assert metadata["model"] == {"name": "vdpa", **arguments}
    expected = convert.from_torch(models.create("vdpa", **arguments), state)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)

    wrong = training_runs.train_small(
        tmp_path / "run", f"--config.init_from={output}", "--config.steps=1"
    )
    assert wrong.returncode == 2
    assert "was trained as another network than the run's" in wrong.stderr

    flipped = next((output / "variables").rglob("d/*"))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    with pytest.raises(storage.CheckpointError, match="is damaged"):
        storage.load_variables(output)


@pytest.mark.long  # entry_points/test_finetuning.py begins so
def test_a_run_starts_from_another(tmp_path):
    first = training_runs.train_small(tmp_path / "first", "--config.steps=6")
    assert first.returncode == 0, first.stderr
    second = training_runs.train_small(
        tmp_path / "second",
        f"--config.init_from={tmp_path / 'first'}",
        "--config.steps=1",
        "--config.optimizer.learning_rate=0.0",
    )
    assert second.returncode == 0, second.stderr
    losses = [
        json.loads((tmp_path / name / "evaluation.json").read_text())["loss"]
        for name in ("first", "second")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights.bin"])
def test_files_that_are_no_checkpoints(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(convert.ConversionError, match="no checkpoint file"):
        read_state_dict(path)
    path.write_bytes(b"neither zip nor pickle")
    with pytest.raises(convert.ConversionError, match=str(path)):
        read_state_dict(path)


def test_bad_command_lines(tmp_path):
    weights = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(3, np.float32)}, weights)
    common = ["--model", "vdpa", "--checkpoint", weights, "--output", tmp_path / "out"]
    for arguments, part in (
        (["--model", "vdpa"], "--checkpoint"),
        ([*common, "--modle.depth=3"], "--modle.depth"),
        ([*common, "--model.dpth=3"], "did you mean 'depth'"),
        ([*common, "--model.depth=1"], "missing: blocks.0.qkv.weight"),
    ):
        finished = training_runs.run("-m tokenjax.convert", *arguments)
        assert finished.returncode == 2
        assert finished.stderr.startswith("error: ")
        assert part in finished.stderr
        assert "Traceback" not in finished.stderr
    assert not (tmp_path / "out").exists()
