"""What is said at a run's start: each remark where it holds, and nowhere else."""

import re

import optax
import pytest
from helpers import training_runs

from tokenjax import models
from tokenjax.training.remarks import find_remarks
from tokenjax.training.settings import Settings

EXAMPLES = 640  # 10 steps an epoch
QUIET = {"batch_size": 64, "epochs": 20.0}


def remarks(more=None, **arguments):
    return find_remarks(
        Settings.from_config({**QUIET, **(more or {})}), EXAMPLES, **arguments
    )


def test_an_ordinary_run_needs_none():
    assert remarks() == []
    busy = {
        "ema_decay": 0.9,
        "schedule": {"warmup_epochs": 2.0},
        "gradient_accumulation": 4,
    }
    assert remarks(busy) == []
    assert remarks(has_statistics=True) == []
    assert remarks({"epochs": 100.0, "schedule": {"name": "multistep"}}) == []


CASES = {
    "ema": (
        {"ema_decay": 0.999},
        r"ema_decay 0\.999 is reached after 8990 steps, .* has 200: .* last tenth",
    ),
    "warm-up": (
        {"schedule": {"warmup_epochs": 40.0}},
        r"warmup_epochs 40 is no shorter .* 200 steps: .*"
        r"gets to 0\.00049[78] of 0\.001",
    ),
    "step": (
        {"schedule": {"name": "step", "step_epochs": 20.0}},
        r"step_epochs 20 is no shorter than the run, 200 steps: .* does not fall",
    ),
    "milestones": (
        {"schedule": {"name": "multistep", "milestones": (5.0, 20.0, 80.0)}},
        r"milestones 20, 80 are never reached: the run ends after 200 steps",
    ),
    "no rate": (
        {"optimizer": {"learning_rate": 0.0}},
        r"learning rate is 0 at all 200 steps: nothing is learned",
    ),
    "annealing": (
        {
            "task": "routing",
            "routing": {"anneal_from_epochs": 10.0, "anneal_to_epochs": 30.0},
        },
        r"anneal_to_epochs 30 is beyond the run's end: annealing gets 50% of its way",
    ),
    "annealing from": (
        {
            "task": "routing",
            "routing": {"anneal_from_epochs": 25.0, "anneal_to_epochs": 30.0},
        },
        r"annealing gets 0% of its way",
    ),
    "direct": (
        {
            "task": "reid",
            "optimizer": {"name": "adam"},
            "reid": {"direct_only_epochs": 20.0},
        },
        r"direct_only_epochs 20 is no shorter .*: the fused branch never learns",
    ),
    "validation": (
        {"evaluate_every_epochs": 21.0},
        r"evaluate_every_epochs 21 is longer than the run: .* validated at its end",
    ),
    "saving": (
        {"checkpoint": {"every_epochs": 21.0}},
        r"checkpoint\.every_epochs 21 is longer than the run",
    ),
    "saving by steps": (
        {"checkpoint": {"every_steps": 201}},
        r"checkpoint\.every_steps 201 is longer than the run",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_time_longer_than_the_run_is_said(case):
    more, sentence = CASES[case]
    (found,) = remarks(more)
    assert re.search(sentence, found), found


def test_at_the_bound_nothing_is_said():
    for more in (
        {"schedule": {"name": "step", "step_epochs": 19.0}},
        {"schedule": {"name": "multistep", "milestones": (5.0, 19.0)}},
        {"schedule": {"warmup_epochs": 19.0}},
        {"evaluate_every_epochs": 20.0, "checkpoint": {"every_epochs": 20.0}},
        {"task": "routing", "routing": {"anneal_to_epochs": 20.0}},
        # Sections of other tasks are refused where they are set, and 0 is off.
        {"ema_decay": 0.95},  # from step 170 on
    ):
        assert remarks(more) == [], more


def test_one_step_of_a_warm_up_learns_nothing():
    short = {"steps": 1, "schedule": {"warmup_epochs": 1.0}}
    assert any(
        "rate is 0 at the one step of the run" in each for each in remarks(short)
    )
    assert not any("rate is 0" in each for each in remarks({**short, "steps": 2}))


def test_less_than_a_step_is_one():
    found = remarks({"epochs": 0.01})
    assert "epochs 0.01 are 0.1 of a step of 64 examples: the run has one step" in found


def test_statistics_of_the_batch():
    (found,) = remarks({"gradient_accumulation": 4}, has_statistics=True)
    assert "statistics are of 16 examples, not of 64" in found
    found = remarks({"steps": 5, **OFTEN}, has_statistics=True)
    assert len(found) == 1
    assert "after 5 steps 59% of the running statistics" in found[0]


OFTEN = {"evaluate_every_epochs": 0.1, "checkpoint": {"every_steps": 1}}


def test_a_tasks_own_schedule_counts():
    (found,) = remarks(schedule=optax.constant_schedule(0.0))
    assert "nothing is learned" in found


def test_pixels_that_no_patch_has():
    sizes = {"patch_size": 16, "embed_dim": 8, "depth": 1, "num_heads": 2}
    cut = models.create("vdpa", img_size=50, **sizes)
    assert remarks(model=cut) == [
        "the last 2 rows and 2 columns of every image fill no patch and are not seen "
        "by vdpa"
    ]
    assert remarks(model=models.create("vdpa", img_size=48, **sizes)) == []


@pytest.mark.long  # the remarks themselves are above
def test_a_run_says_them_once_at_its_start(tmp_path):
    arguments = ["--config.steps=2", "--config.ema_decay=0.99"]
    arguments += ["--config.checkpoint.every_steps=1"]
    finished = training_runs.train_small(tmp_path / "run", *arguments)
    assert finished.returncode == 0, finished.stderr
    notes = [x for x in finished.stderr.splitlines() if x.startswith("note: ")]
    assert sum("ema_decay 0.99 is reached after 890 steps" in x for x in notes) == 1
    assert finished.stdout.startswith("test: top-1")
    again = training_runs.train_small(tmp_path / "run", *arguments)
    assert "note: " not in again.stderr  # it is complete
