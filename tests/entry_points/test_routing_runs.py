"""Routing's workflow: an ablation, its figures, and eval.py --eval_all."""

import json
import shutil

import pytest
from helpers import training_runs

CONFIG = """
from ml_collections import ConfigDict
from configs import routing


def get_config(variant=""):
    config = routing.get_config()
    config.data.update(train_examples=64, validation_examples=16, test_examples=24)
    config.model.update(patch_grid=2, encoder_channels=4, encoder_layers=2)
    config.model.update(big_hidden_dim=16, small_hidden_dim=4)
    config.model.update(embed_dim=8, aggregator_dim=8)
    config.batch_size, config.steps, config.log_every_steps = 8, 6, 2
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 1.0
    config.routing.update(anneal_from_epochs=0.25, anneal_to_epochs=0.5)
    config.ablation.axes = ConfigDict({"model": {"name": ("cheap_compute",)}})
    config.ablation.latency_batch_size = 4
    config.compare = ConfigDict({"routed": "base", "cheap": "cheap_compute"})
    return config
"""
ABLATE = "-m tokenjax.training.ablate"


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    root = tmp_path_factory.mktemp("ablated")
    config = root / "tiny.py"
    config.write_text(CONFIG)
    arguments = ["--config", config, "--workdir", root / "runs", "--jobs", 2]
    finished = training_runs.run(ABLATE, *arguments, timeout=300)
    assert finished.returncode == 0, finished.stderr
    return root, arguments, finished


def test_an_ablation_makes_a_table_and_figures(ablated):
    root, _, finished = ablated
    runs = root / "runs"
    assert "routed to the big network, %" in finished.stdout
    rows = {
        r["variant"]: r for r in json.loads((runs / "results.json").read_text())["rows"]
    }
    assert set(rows) == {"base", "name=cheap_compute"}
    cheap, base = rows["name=cheap_compute"], rows["base"]
    assert cheap["routing_ratio"] == 0
    assert 0 <= base["routing_ratio"] <= 1
    assert base["mflops"] >= cheap["mflops"] > 0
    assert base["latency_ms"] > 0
    for name in ("accuracy.png", "accuracy_over_flops_cluttered.png"):
        assert (runs / name).stat().st_size > 5_000


def test_a_run_draws_what_was_routed_and_logs_the_schedule(ablated):
    workdir = ablated[0] / "runs" / "cluttered" / "base" / "0"
    drawn = {path.name for path in (workdir / "figures").iterdir()}
    assert {"routed_patches.png", "routing_curves.png", "training_curves.png"} <= drawn
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    targets = [row["train/target_ratio"] for row in rows if "train/loss" in row]
    assert targets[0] == 1.0
    assert targets[-1] == 0.25
    routing = json.loads((workdir / "evaluation.json").read_text())["routing"]
    assert {"ratio", "threshold", "score_std", "target_recall"} <= set(routing)
    assert {"none_selected", "all_selected", "mflops", "expected_mflops"} <= set(
        routing
    )


@pytest.mark.long  # ops/test_dispatch_devices.py holds the dispatch to it
def test_two_devices_dispatch_their_own_rows_and_train_as_one(tmp_path, ablated):
    losses = []
    for devices in (1, 2):
        flag = f"--xla_force_host_platform_device_count={devices}"
        finished = training_runs.run(
            "train.py",
            *["--config", ablated[0] / "tiny.py", "--workdir", tmp_path / str(devices)],
            *[
                "--config.model.mask_gradient=executed",
                "--config.log_every_steps=1",
                "--config.steps=4",
                "--config.figures=False",
            ],
            XLA_FLAGS=flag,
        )
        assert finished.returncode == 0, finished.stderr
        rows = (tmp_path / str(devices) / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(r).get("train/loss") for r in rows])
        routing = json.loads((tmp_path / str(devices) / "evaluation.json").read_text())
        losses[-1] += [routing["routing"]["score_mean"], routing["loss"]]
    found = [[value for value in run if value is not None] for run in losses]
    assert len(found[0]) >= 6
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_an_ablation_that_is_complete_trains_nothing(ablated):
    root, arguments, _ = ablated
    logs = sorted((root / "runs").rglob("metrics.jsonl"))
    before = [path.stat().st_mtime_ns for path in logs]
    again = training_runs.run(ABLATE, *arguments)
    assert again.returncode == 0, again.stderr
    assert [path.stat().st_mtime_ns for path in logs] == before


@pytest.mark.long  # four evaluations; one alone is above
def test_eval_all(ablated, tmp_path):
    root, _, _ = ablated
    made = root / "runs" / "cluttered"
    shutil.copytree(made / "base" / "0", tmp_path / "tiny-base")
    arguments = ["--config", root / "tiny.py", "--eval_all", "--workdir", tmp_path]
    absent = training_runs.run("eval.py", *arguments)
    assert absent.returncode == 2
    assert "not trained yet: cheap" in absent.stderr
    shutil.copytree(made / "name=cheap_compute" / "0", tmp_path / "tiny-cheap_compute")
    (tmp_path / "tiny-base" / "evaluation.json").unlink()
    finished = training_runs.run("eval.py", *arguments, "--batch_size", 4)
    assert finished.returncode == 0, finished.stderr
    output = tmp_path / "tiny-default-eval_all"
    rows = {
        r["name"]: r for r in json.loads((output / "results.json").read_text())["rows"]
    }
    assert set(rows) == {"routed", "cheap"}
    assert rows["cheap"]["mflops"] < rows["routed"]["mflops"]
    assert all(row["latency_ms"] > 0 for row in rows.values())
    assert "| routed |" in (output / "table.md").read_text()
    assert "2 per multiply-add" in (output / "table.md").read_text()
    assert (output / "accuracy_over_flops.png").stat().st_size > 5_000
    assert (tmp_path / "tiny-base" / "evaluation.json").exists()
