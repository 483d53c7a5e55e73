"""Schedule "plateau" against PyTorch's own, in a checkpoint, and in a compiled step."""

import json

import jax
import numpy as np
import optax
import pytest
from helpers import training_runs
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tokenjax import experiment
from tokenjax.training import default_config, plateau
from tokenjax.training.checkpoints import Checkpoints
from tokenjax.training.loop import Run
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.remarks import find_remarks
from tokenjax.training.schedule import make_schedule
from tokenjax.training.settings import Settings

PARAMS = {name: {"kernel": np.ones((2, 2), np.float32)} for name in ("body", "head")}


def make(optimizer=None, **schedule):
    """Settings, the rule and its first state."""
    settings = Settings.from_config(
        {
            "schedule": {"name": "plateau", **schedule},
            "optimizer": {"learning_rate": 0.1, **(optimizer or {})},
        }
    )
    rule = make_optimizer(settings, make_schedule(settings, 640), {})
    return settings, rule, jax.jit(rule.init)(PARAMS)


def rates_of(values, **schedule):
    """Return the learning rate after each evaluation."""
    settings, _, state = make(**schedule)
    found = []
    for value in values:
        state = plateau.advance(state, value, settings.schedule, 0.1)
        found.append(0.1 * float(plateau.find_scale(state)))
    return found


@hypothesis_settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=40),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.3, 0.5]),
    st.sampled_from([0.0, 1e-2]),
)
def test_it_falls_where_pytorchs_does(thousandths, patience, factor, minimum):
    torch = pytest.importorskip("torch")
    rule = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        rule, mode="max", factor=factor, patience=patience, min_lr=minimum
    )
    values, expected = [each / 1000 for each in thousandths], []
    for value in values:
        theirs.step(value)
        expected.append(rule.param_groups[0]["lr"])
    ours = rates_of(
        values,
        patience=patience,
        plateau_factor=factor,
        minimum_learning_rate=minimum,
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_the_defaults_are_the_originals():
    """Half the rate after the eleventh evaluation in a row that is no better."""
    rates = rates_of([0.5, *[0.50004] * 11, 0.6, *[0.6] * 11])
    np.testing.assert_allclose(rates[:11], 0.1)
    np.testing.assert_allclose(rates[11:23], 0.05)
    np.testing.assert_allclose(rates[23:], 0.025)


def test_the_scale_reaches_every_rule():
    gradients = jax.tree.map(np.ones_like, PARAMS)
    for name in ("adamw", "adam", "sgd", "momentum", "muon"):
        settings, rule, state = make({"name": name}, patience=0)
        before, _ = rule.update(gradients, state, PARAMS)
        for value in (0.5, 0.5):
            state = plateau.advance(state, value, settings.schedule, 0.1)
        after, _ = rule.update(gradients, state, PARAMS)
        halved = jax.tree.map(lambda each: each / 2, before)
        jax.tree.map(np.testing.assert_array_equal, after, halved)
    _, rule, state = make({"freeze": ("head",)}, patience=0)
    updates, _ = rule.update(gradients, state, PARAMS)
    assert updates["body"]["kernel"].all()
    assert not updates["head"]["kernel"].any()
    assert float(plateau.find_scale(state)) == 1


def test_other_schedules_have_no_such_state():
    settings = Settings.from_config({"schedule": {"name": "constant"}})
    rule = make_optimizer(settings, optax.constant_schedule(0.1), {})
    state = rule.init(PARAMS)
    assert plateau.find_scale(state) is None
    assert plateau.advance(state, 0.5, settings.schedule, 0.1) == state


def opened(directory):
    """A small run at its start, or where the directory's checkpoint stands."""
    config = default_config()
    sizes = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    config.model.update(name="vit", **sizes)
    config.data.image_size = 16
    config.batch_size, config.steps, config.gradient_accumulation = 32, 6, 2
    config.schedule.update(name="plateau", patience=0)
    built = experiment.build(config)
    with Checkpoints(directory) as checkpoints:
        return Run(built.settings, built.task, built.dataset, checkpoints)


def go_on(directory, until):
    """Train to a step, evaluated after each, and save; return the run and its rates."""
    run, rates = opened(directory), []
    for batch in run.batches():
        with jax.transfer_guard("disallow"):
            run.state, scalars = run.train_step(run.state, batch)
        rates.append(float(scalars["learning_rate"]))
        run.take_in(0.5)
        if run.step == until:
            break
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(run.step, run.state, 0.5)
    return run, rates


def test_it_is_in_the_checkpoint_and_compiled_once(tmp_path):
    whole, rates = go_on(tmp_path / "whole", 6)
    np.testing.assert_allclose(rates, 1e-3 / 2.0 ** np.array([0, 0, 1, 2, 3, 4]))
    assert whole.train_step.__wrapped__._cache_size() == 1
    _, first = go_on(tmp_path / "cut", 3)
    cut, rest = go_on(tmp_path / "cut", 6)
    assert first + rest == rates
    ours, theirs = jax.tree.leaves(cut.state), jax.tree.leaves(whole.state)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.long  # a whole run
def test_a_run_is_told_of_its_evaluations(tmp_path):
    finished = training_runs.train_small(
        tmp_path,
        *("--config.steps=6", "--config.log_every_steps=1"),
        "--config.evaluate_every_epochs=0.1",
        "--config.schedule.name=plateau",
        "--config.schedule.patience=0",
        "--config.schedule.warmup_epochs=0.0",
        "--config.optimizer.learning_rate=1e-7",  # so little that nothing gets better
    )
    assert finished.returncode == 0, finished.stderr
    rows = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    key = "train/learning_rate"
    rates = {row["step"]: row[key] for row in rows if key in row}
    assert rates[4] == pytest.approx(1e-7)  # evaluated after 2 and 4 steps
    assert rates[5] == rates[6] == pytest.approx(5e-8)


def test_a_run_too_short_for_its_patience_says_so():
    settings, _, _ = make()
    (found,) = find_remarks(settings, 640, make_schedule(settings, 640))
    assert found == (
        "schedule.patience 10 is of evaluations, one every 10 epochs, and the run has "
        "10: the learning rate does not fall"
    )
