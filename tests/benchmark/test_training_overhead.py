"""What training costs beside its steps: the sums, and one small run of train.py."""

import pytest
from helpers import training_runs

from tokenjax.benchmark import overhead_runs, training_overhead
from tokenjax.errors import UserError

TINY = (
    "data.image_size=16",
    "model.embed_dim=16",
    "model.depth=1",
    "model.num_heads=2",
)


def row(step, seconds, checkpoint=0.0, waited=0.0):
    return {
        "step": step,
        "time/per_step": seconds,
        "time/checkpoint": checkpoint,
        "time/input_wait": waited,
    }


ROWS = [
    row(200, 0.010, waited=0.001),
    row(300, 0.011, 0.002, waited=0.0011),
    row(400, 0.020),
    row(500, 0.0204, 0.002),
    row(600, 0.010, waited=0.0002),
    row(700, 0.0101, 0.001),
]


def test_the_sums():
    found = training_overhead.summarize(ROWS, 200)
    assert found["interval_seconds"] == pytest.approx(2)
    assert found["checkpoint"] == pytest.approx(0.02)
    assert found["checkpoint_quartiles"] == pytest.approx([0.015, 0.06])
    assert found["step_ms"] == pytest.approx(10)
    assert found["input_wait"] == pytest.approx(0.01)
    assert found["input_wait_most"] == pytest.approx(0.1)


def test_rows_without_a_save_are_refused():
    with pytest.raises(UserError, match="did not save at every second row"):
        training_overhead.summarize(ROWS[1:5], 200)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "Limits of checkpoint 5% and input wait 5%: kept."),
        ({"checkpoint": 0.06}, "exceeded: checkpoint of configs/vdpa.py."),
        ({"input_wait": 0.06}, "exceeded: input wait of configs/vdpa.py."),
    ],
)
def test_the_table(changes, verdict):
    about = {"source": "digits", "config": "configs/vdpa.py", "batch_size": 64}
    result = about | training_overhead.summarize(ROWS, 200) | changes
    assert training_overhead.table([result]).endswith(verdict)


def test_an_interval_too_short_is_said_and_judges_no_checkpoint():
    about = {"source": "digits", "config": "configs/vit.py", "batch_size": 64}
    result = about | training_overhead.summarize(ROWS, 100) | {"checkpoint": 0.2}
    shown = training_overhead.table([result])
    assert "too short to judge a checkpoint by: configs/vit.py" in shown
    assert shown.endswith("input wait 5%: kept.")
    assert training_overhead.exceeded([result | {"input_wait": 0.06}]) == [
        "input wait of configs/vit.py"
    ]


@pytest.mark.parametrize(("step", "interval"), [(0.1, 100), (0.01, 250), (0.003, 834)])
def test_the_interval_is_chosen_by_the_steps(monkeypatch, step, interval):
    rows = [row(40, 1.5 * step), row(60, step, 0.01)]
    monkeypatch.setattr(overhead_runs, "run", lambda *_: rows)
    chosen = training_overhead.choose_interval("configs/vdpa.py", None, ())
    assert chosen == interval
    assert chosen * step >= 2


def test_every_embedded_source_is_measured():
    for source, specs in training_overhead.CASES.items():
        for spec in specs:
            assert overhead_runs.load_config(spec, ()).data.source == source


def test_mistakes():
    plan = overhead_runs.Plan()
    with pytest.raises(UserError, match="did you mean 'digits'"):
        training_overhead.measure(["digit"], plan)
    for override, message in (
        ("model.depth", "key=value, got 'model.depth'"),
        ("batch_size=many", "--override batch_size=many"),
    ):
        with pytest.raises(UserError, match=message):
            overhead_runs.load_config("configs/vdpa.py", [override])
    with pytest.raises(UserError, match=r"no file configs/none\.py"):
        overhead_runs.load_config("configs/none.py", [])


@pytest.mark.long  # a benchmark of real runs
def test_a_small_run(tmp_path, monkeypatch):
    for name, value in training_runs.environment().items():
        monkeypatch.setenv(name, value)
    seen = []
    plan = overhead_runs.Plan(interval=4, pairs=2, overrides=TINY)
    rows = overhead_runs.run(
        "configs/vdpa.py", tmp_path / "run", plan, lambda: seen.append(1)
    )
    assert len(seen) == plan.rows == 5
    assert [row["step"] for row in rows] == [8, 12, 16, 20]
    found = training_overhead.summarize(rows, plan.interval)
    assert found["step_ms"] > 0
    assert 0 <= found["input_wait"] < 1


def test_a_run_that_fails_says_why(tmp_path, monkeypatch):
    for name, value in training_runs.environment().items():
        monkeypatch.setenv(name, value)
    plan = overhead_runs.Plan(4, 1, ("model.num_heads=5",))
    with pytest.raises(UserError, match=r"ended too early.*num_heads"):
        overhead_runs.run("configs/vdpa.py", tmp_path / "run", plan, lambda: None)
