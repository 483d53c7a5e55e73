"""eval.py --sweep: trained weights over the values of one argument."""

import csv
import json
import types

import pytest
from helpers.entry_points import run_in_process

from tokenjax.errors import UserError
from tokenjax.study import sweep as sweeping

ROUTING = """
from ml_collections import ConfigDict
from configs import routing

def get_config():
    config = routing.get_config()
    config.data.update(train_examples=64, validation_examples=16, test_examples=24)
    config.model.update(patch_grid=2, encoder_channels=4, encoder_layers=2)
    config.model.update(big_hidden_dim=16, small_hidden_dim=4)
    config.model.update(embed_dim=8, aggregator_dim=8)
    config.batch_size, config.steps, config.figures = 8, 4, False
    return config
"""
PRUNING = """
from ml_collections import ConfigDict
from tokenjax.training import default_config

def get_config():
    config = default_config()
    config.model = ConfigDict({"name": "dynamic_vit", "pruning": "inference",
                               "patch_size": 4, "embed_dim": 16, "depth": 2,
                               "num_heads": 2, "stages": (1,)})
    config.data = ConfigDict({"source": "digits", "image_size": 16})
    config.steps, config.batch_size, config.figures = 2, 64, False
    return config
"""


def train(home, text):
    (home / "config.py").write_text(text)
    run = home / "run"
    done = run_in_process("train", f"--config={home / 'config.py'}", f"--workdir={run}")
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    """A run of a router that learns its threshold."""
    return train(tmp_path_factory.mktemp("routed"), ROUTING)


def evaluate(run, *arguments):
    return run_in_process("eval", f"--workdir={run}", *arguments)


def read(path):
    return json.loads(path.read_text())


def count_compilations(monkeypatch):
    """Return a list that gets an entry for each program of the latencies."""
    made = []

    def compile_function(*arguments):
        made.append(arguments)
        return original(*arguments)

    original = sweeping.compile_function
    monkeypatch.setattr(sweeping, "compile_function", compile_function)
    return made


def test_a_learned_threshold_is_swept_by_one_program(routed, monkeypatch):
    before, made = (routed / "evaluation.json").read_bytes(), []
    made = count_compilations(monkeypatch)
    found = evaluate(
        routed, "--sweep", "threshold=-0.5:1.5:3", "--batch_size=4", "--config.figures"
    )
    assert found.returncode == 0, found.stderr
    assert len(made) == 1
    assert (routed / "evaluation.json").read_bytes() == before
    report, own = read(routed / "sweep-threshold.json"), json.loads(before)
    rows = report["rows"]
    assert [row["value"] for row in rows if not row["trained"]] == [-0.5, 0.5, 1.5]
    assert [row["value"] for row in rows] == sorted(row["value"] for row in rows)
    (trained,) = (row for row in rows if row["trained"])
    assert trained["value"] == pytest.approx(own["routing"]["threshold"])
    assert trained["top1"] == own["top1"]
    assert trained["routing_ratio"] == own["routing"]["ratio"]
    assert trained["mflops"] == own["routing"]["mflops"]
    assert (rows[0]["routing_ratio"], rows[-1]["routing_ratio"]) == (1, 0)
    assert rows[0]["mflops"] > rows[-1]["mflops"] > 0
    assert all(row["latency_ms"] > 0 and row["examples"] == 24 for row in rows)
    assert trained["time_ratio"] == 1
    assert report["batch_size"] == 4
    assert "in place of the learned" in report["how"]
    assert (routed / "figures" / "sweep-threshold.png").stat().st_size > 5_000
    lines = found.stdout.splitlines()
    assert [line.endswith("trained") for line in lines[4:8]].count(True) == 1
    with (routed / "sweep-threshold.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["threshold"]) for row in table] == pytest.approx(
        [row["value"] for row in rows], rel=1e-5
    )
    assert [row["routed to the big network, %"] for row in table][::3] == ["100", "0"]


@pytest.mark.long  # the sweep of a threshold holds all but the compilations
def test_the_token_share_is_swept_by_a_program_for_each(tmp_path, monkeypatch):
    run = train(tmp_path, PRUNING)
    made = count_compilations(monkeypatch)
    found = evaluate(run, "--sweep", "keep_ratio=1,0.25", "--batch_size=2")
    assert found.returncode == 0, found.stderr
    assert len(made) == 3
    rows = read(run / "sweep-keep_ratio.json")["rows"]
    assert [(row["value"], row["trained"]) for row in rows] == [
        (0.25, False),
        (0.7, True),
        (1.0, False),
    ]
    flops = [row["mflops"] for row in rows]
    assert flops == sorted(set(flops))
    assert rows[1]["top1"] == read(run / "evaluation.json")["top1"]
    assert not (run / "figures").exists()


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        (
            ["target_ratio=0.1,0.2"],
            "--sweep target_ratio: it does not act at inference in this "
            "attention_routing, as it was trained; what can be swept of it: "
            "threshold, attention_scale, execution",
        ),
        pytest.param(
            ["temperature=0.1,5"],
            "--sweep temperature: it does not act at inference",
            marks=pytest.mark.long,
        ),
        pytest.param(
            ["budget=0.5,1"],
            "--sweep budget: it does not act at inference",
            marks=pytest.mark.long,
        ),
        pytest.param(
            ["dropout=0.1:0.2:2"],
            "--sweep dropout: it does not act at inference",
            marks=pytest.mark.long,
        ),
        (["treshold=0.1"], "'treshold', did you mean 'threshold'?"),
        (
            ["execution=gatherd"],
            "--sweep execution: it must be one of gathered, masked",
        ),
        (["threshold=low"], "--sweep threshold: it must be float, got 'low'"),
        (["threshold=0.1,nan"], "--sweep threshold: it must be finite, got nan"),
        (["threshold=0.1", "attention_scale=1"], "--sweep varies one argument at a"),
        (["threshold=0.1,attention_scale=1"], "--sweep varies one argument at a time"),
    ],
)
def test_what_cannot_be_swept_is_a_sentence(routed, sweep, sentence):
    found = evaluate(routed, *(f"--sweep={each}" for each in sweep))
    assert found.returncode == 2
    assert sentence in found.stderr
    assert found.stderr.count("error: ") == 1


def test_a_task_without_classes_is_a_sentence():
    settings = types.SimpleNamespace(model={"name": "demo"}, task="reid")
    built = types.SimpleNamespace(task=object(), settings=settings)
    with pytest.raises(UserError, match="--sweep is of classifiers, not of task reid"):
        sweeping._points(built, {}, ["ratio=0.1"])


@pytest.mark.parametrize("other", ["--eval_all", "--predictions=all.csv"])
def test_a_sweep_is_of_one_run(routed, other):
    found = evaluate(routed, "--sweep=threshold=0.1", other)
    assert found.returncode == 2
    assert "--sweep evaluates one run over and over: not with" in found.stderr


@pytest.mark.parametrize("changes", [[], ["--changes=threshold"]])
def test_an_argument_that_a_parameter_overrides_is_said(routed, changes):
    before = (routed / "evaluation.json").read_bytes()
    found = evaluate(routed, "--config.model.threshold=0.6", *changes)
    learned = json.loads(before)["routing"]["threshold"]
    assert found.returncode == 2
    assert (
        "model.threshold 0.3, not 0.6, would change nothing: it is where training "
        f"started, and what was learned is {learned:.4g} (--sweep threshold=0.6 puts "
        "another in its place)"
    ) in found.stderr
    assert "--changes=ARGUMENT" not in found.stderr
    assert (routed / "evaluation.json").read_bytes() == before


def test_a_change_that_does_not_act_is_said(routed):
    found = evaluate(
        routed, "--config.model.target_ratio=0.5", "--changes=target_ratio"
    )
    assert found.returncode == 0, found.stderr
    assert (
        "model.target_ratio does not act at inference: the predictions are those of "
        "the weights' own 0.25"
    ) in found.stderr
    found = evaluate(
        routed, "--config.model.attention_scale=2.0", "--changes=attention_scale"
    )
    assert found.returncode == 0, found.stderr
    assert "does not act" not in found.stderr
