"""Eight simulated devices train as one does; accumulation as no accumulation."""

import json

import pytest
import training_runs

EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}


def rows(workdir):
    found = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    return [{k: v for k, v in r.items() if "per_second" not in k} for r in found]


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [([], EIGHT), (["--config.gradient_accumulation=4"], {})],
    ids=["eight_devices", "accumulation"],
)
def test_losses_agree(tmp_path, arguments, extra):
    # Augmentation draws by position in the batch, which accumulation changes.
    flags = ["--config.steps=10", "--config.ema_decay=0.9"]
    flags += [f"--config.augmentation.{name}=0" for name in ("rotation", "scale")]
    flags += ["--config.augmentation.shift=0"]
    one, other = tmp_path / "one", tmp_path / "other"
    for workdir, more, environment in ((one, [], {}), (other, arguments, extra)):
        finished = training_runs.train_small(workdir, *flags, *more, **environment)
        assert finished.returncode == 0, finished.stderr
    expected, actual = rows(one), rows(other)
    assert len(expected) == len(actual) > 4
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)


def test_eight_devices_augment_alike(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for workdir, environment in ((one, {}), (other, EIGHT)):
        finished = training_runs.train_small(
            workdir, "--config.steps=4", "--config.model.drop=0.1", **environment
        )
        assert finished.returncode == 0, finished.stderr
    for ours, theirs in zip(rows(other), rows(one), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)
