"""Several simulated devices train as one does; accumulation as no accumulation."""

import json

import pytest
from helpers import training_runs


def devices(count):
    return {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}


def rows(workdir):
    found = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    return [{k: v for k, v in r.items() if "per_second" not in k} for r in found]


DRAWN = ["--config.model.drop=0.1", "--config.ema_decay=0.9"]
PLAIN = [f"--config.augmentation.{name}=0" for name in ("rotation", "scale", "shift")]
# A ratio: the classes of a batch are uneven, and more so those of its parts.
WEIGHTED = [*PLAIN, "--config.imbalance.profile=exponential"]
WEIGHTED += ["--config.imbalance.class_weights=inverse_frequency"]


@pytest.mark.parametrize(
    ("common", "arguments", "extra"),
    [
        # training/distribution/test_fsdp.py: four devices, without the program
        pytest.param(DRAWN, [], devices(2), marks=pytest.mark.long),
        pytest.param(DRAWN, [], devices(8), marks=pytest.mark.long),
        # Draws go by the position in a part of the batch: nothing random here.
        pytest.param(
            *(WEIGHTED, ["--config.gradient_accumulation=4"], {}),
            marks=pytest.mark.long,  # training/test_accumulation.py, without a run
        ),
        pytest.param(
            WEIGHTED,
            ["--config.gradient_accumulation=4"],
            devices(2),
            marks=pytest.mark.long,
        ),
    ],
    ids=["two_devices", "eight_devices", "accumulation", "both"],
)
def test_losses_agree(tmp_path, common, arguments, extra):
    common = ["--config.steps=6", "--config.log_every_steps=1", *common]
    one, other = tmp_path / "one", tmp_path / "other"
    for workdir, more, environment in ((one, [], {}), (other, arguments, extra)):
        finished = training_runs.train_small(workdir, *common, *more, **environment)
        assert finished.returncode == 0, finished.stderr
    expected, actual = rows(one), rows(other)
    assert len(expected) == len(actual) >= 6
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)
