"""What a budget of minutes buys, and how a run of so many images is set."""

import json
import pathlib

import pytest

from tokenjax import storage
from tokenjax.errors import UserError
from tokenjax.reproduction import budget, jobs
from tokenjax.reproduction.budget import Cost
from tokenjax.study import plan, runner
from tokenjax.study.plan import StudyRun


def runs(seeds=2):
    made = []
    for seed in range(seeds):
        made.append(StudyRun("balanced", "plain", seed))
        made.append(StudyRun("balanced", "pruned", seed, needs="plain"))
        made.append(StudyRun("balanced", "random", seed, needs="plain", trains=False))
    return made


COSTS = {
    "plain": Cost(0.01, 30.0, 10.0),
    "pruned": Cost(0.02, 20.0, 5.0),
    "random": Cost(0.0, 8.0, 4.0),
}


def images(minutes, jobs=1, batch=10, most=10**9):
    return budget.images_per_run(minutes, runs(), COSTS, jobs, batch, most)


def test_the_budget_is_spent():
    # Starts: 30 + 20 + 8 first, 10 + 5 + 4 again; an image of all runs: 2 (0.01 +
    # 0.3 * 0.02) seconds.
    assert images(10) == int((600 - 77) / 0.032) // 10 * 10 == 16340
    assert images(10, jobs=2) == int((1200 - 77) / 0.032) // 10 * 10
    assert images(10, batch=64) % 64 == 0
    assert images(10, most=555) == 550


def test_too_small_a_budget_is_one_sentence():
    least = (77 + 20 * 10 * 0.032) / 60
    assert images(least + 1e-6) == 200
    with pytest.raises(UserError, match=rf"6 runs take {least:.1f} minutes here"):
        images(least - 1e-3)
    with pytest.raises(UserError, match=r"--budget 0\.1 is too small: 6 runs"):
        budget.check_least(0.1, runs(), 2)
    budget.check_least(0.21, runs(), 2)
    with pytest.raises(UserError, match="too small"):
        budget.check_least(float("nan"), runs(), 2)


def config_of(variant, dataset="balanced"):
    study = jobs.load_study("fashion_mnist", [0])
    run = next(
        run
        for run in jobs.list_runs(study)
        if (run.dataset, run.variant) == (dataset, variant)
    )
    return plan.run_config(study, run, pathlib.Path("root")), run


def test_the_length_of_a_run():
    config, run = config_of("vit_base")
    budget.set_length(config, run, 6400, 12_800)
    assert (config.batch_size, config.steps) == (64, 100)
    assert config.epochs == pytest.approx(0.5)
    assert config.schedule.warmup_epochs == pytest.approx(0.025)  # 5 of 100 epochs
    assert config.evaluate_every_epochs == pytest.approx(0.1)  # 20 of 100 steps
    assert config.log_every_steps == 2
    config, run = config_of("dynamic_vit_pruned")
    budget.set_length(config, run, 6400, 12_800)
    assert config.steps == 30


def test_evaluations_end_with_the_run():
    """No sixth one follows the fifth by a step or two."""
    config, run = config_of("vit_base")
    budget.set_length(config, run, 64 * 407, 57_000)
    every = config.evaluate_every_epochs * 57_000 / 64
    assert every == pytest.approx(82)
    assert config.steps == 407 < 5 * 82


def test_what_in_a_recipe_is_in_epochs_keeps_its_share():
    config, run = config_of("vit_base")
    config.epochs, config.schedule.milestones = 100.0, (60.0, 80.0)
    config.schedule.step_epochs = 30.0
    budget.set_length(config, run, 128_000, 12_800)
    assert config.schedule.milestones == pytest.approx((6.0, 8.0))
    assert config.schedule.step_epochs == pytest.approx(3.0)


def test_costs_are_read_from_two_short_runs(tmp_path):
    short = [StudyRun("balanced", "plain", seed) for seed in (4, 5)]
    short += [StudyRun("balanced", "random", s, "plain", False) for s in (4, 5)]
    seconds = {("plain", 4): 60.0, ("plain", 5): 21.0, ("random", 4): 9.0}
    for run in short:
        workdir = run.workdir(tmp_path)
        workdir.mkdir(parents=True)
        took = seconds.get((run.variant, run.seed), 3.0)
        storage.write_json(workdir / runner.SECONDS, {"seconds": took})
        if run.trains:
            rows = [{"step": 1}] + [{"time/per_step": t} for t in (0.1, 0.2, 0.9)]
            log = "\n".join(map(json.dumps, rows))
            (workdir / "performance.jsonl").write_text(log)
    costs = budget.read_costs(short, tmp_path, 50)
    learning = budget.CALIBRATION_STEPS * 0.2
    assert costs["plain"].per_image == pytest.approx(0.2 / 50)
    assert costs["plain"].first_start == pytest.approx(60 - learning)
    assert costs["plain"].start == pytest.approx(21 - learning)
    assert costs["random"] == Cost(0.0, 9.0, 3.0)
