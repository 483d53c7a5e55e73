"""`tokenjax reproduce` from its flags to its report."""

import json
import re

import pytest
from helpers import reproduced_runs, training_runs
from helpers.entry_points import run_in_process

from tokenjax.reproduction import calibration, costs, figures, jobs, plan_file

DIGITS = ["reproduce", "cifar_vit", "--data", "digits", "--seeds", "0,1"]


@pytest.fixture
def pretend(monkeypatch):
    """No run trains and nothing is measured; which runs were asked for."""
    wrote: list[str] = []
    monkeypatch.setattr(
        "tokenjax.study.runner.run_all", reproduced_runs.pretended(wrote)
    )
    measured = reproduced_runs.make_costs()
    monkeypatch.setattr(costs, "measure_originals", lambda: measured["original"])
    monkeypatch.setattr(costs, "measure_trained", lambda *a: measured["trained"])
    monkeypatch.setattr(costs, "count_patches", lambda *a: measured["patches"])
    monkeypatch.setattr(costs.report, "environment", lambda: measured["environment"])
    monkeypatch.setattr(figures, "draw_attention", lambda *a: a[-1])
    monkeypatch.setattr(
        "tokenjax.reproduction.calibration.describe_data",
        lambda study, source, minutes: reproduced_runs.make_plan([0, 1], "digits"),
    )
    return wrote


def test_from_flags_to_report_and_once_more(pretend, monkeypatch, tmp_path):
    root, output = tmp_path / "root", tmp_path / "out" / "report.md"
    flags = ["--budget", 60, "--workdir", root, "--output", output]
    finished = run_in_process(*DIGITS, *flags)
    assert finished.returncode == 0, finished.stderr
    study = jobs.load_study("digits", [0, 1])
    runs = [run.name for run in jobs.list_runs(study)]
    assert len(runs) == 2 * (5 * 4 + 3)
    assert sorted(pretend[14:]) == sorted(runs)  # after the short ones, twice seven
    assert "46 of 46 runs done, about 0 minutes left" in finished.stdout
    text = output.read_text()
    for heading in ("Background", "Architectures", "Settings", "Results", "Conclusion"):
        assert re.search(rf"^## \d\. {heading}", text, re.MULTILINE)
    linked = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(linked) == 6
    for name in linked:
        if "attention" not in name:
            assert (output.parent / name).stat().st_size > 1000
    assert "| vit_base | 8.5 M → 1.00 M |" in text

    # Once more: nothing is run, and other numbers are other sentences.
    plan = plan_file.Plan.read(root)
    pretend.clear()
    names = dict.fromkeys(
        reproduced_runs.FIGURES, "figures/drawn.png"
    )  # drawing takes the longest
    monkeypatch.setattr(figures, "draw_all", lambda *a: names)
    small = root / "balanced" / "vit_small"
    for seed in (0, 1):
        reproduced_runs.write_run(small / str(seed), 0.2 + 0.001 * seed)
    assert "against vit_small: +0.00 points" in text
    finished = run_in_process(*DIGITS, *flags)
    assert finished.returncode == 0, finished.stderr
    assert pretend == []
    assert plan_file.Plan.read(root) == plan
    assert "against vit_small: +59.95 points" in output.read_text()


def test_the_plan_holds(tmp_path):
    root = tmp_path / "root"
    flags = ["--workdir", root, "--output", tmp_path / "report.md"]
    root.mkdir()
    reproduced_runs.make_plan([0, 1], "digits").write(root)
    for other, part in (
        (["--budget", 61], "a reproduction with --budget 60.0"),
        (["--seeds", "0"], "--seeds 0,1; go on with that"),
        (["--data", "fashion_mnist"], "--data digits"),
    ):
        finished = run_in_process(*DIGITS, *flags, *other)
        assert finished.returncode == 2
        assert part in finished.stderr
        assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "say what to reproduce: tokenjax reproduce cifar_vit"),
        (["cifar_vti"], "unknown reproduction 'cifar_vti'"),
        (["cifar_vit", "--data", "mnist"], "should be one of"),
        (["cifar_vit", "--data", "digits", "--seeds", "0,0"], "--seeds must differ"),
        (["cifar_vit", "--data", "digits", "--seeds", "one"], "--seeds are whole"),
        (["cifar_vit", "--data", "digits", "--seeds", "-1"], "--seeds are whole"),
        (["cifar_vit", "--data", "digits", "--budget", "0.5"], "is too small: 69 runs"),
        (["cifar_vit", "--data", "digits", "--budget", "-3"], "is too small"),
        (["cifar_vit", "--data", "digits", "--output", "a.txt"], "must end in .md"),
        (["cifar_vit", "--data", "digits", "--jobs", "0"], "jobs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(tmp_path, arguments, part):
    finished = run_in_process("reproduce", *arguments, "--workdir", tmp_path / "root")
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert finished.stderr.count("\n") == 1
    assert part in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home" / "tfds"))
    finished = run_in_process(
        "reproduce", "cifar_vit", "--data", "cifar10", "--workdir", tmp_path / "root"
    )
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.count("\n") == 1
    assert "cifar10" in finished.stderr
    assert not (tmp_path / "root").exists()


@pytest.mark.long  # test_study.py runs the jobs' parts, the test above the rest
def test_from_end_to_end(tmp_path):
    root, output = tmp_path / "root", tmp_path / "report.md"
    arguments = ["-m tokenjax", "reproduce", "cifar_vit", "--data", "digits"]
    arguments += ["--budget", 60, "--seeds", 0, "--workdir", root]
    plan = reproduced_runs.make_plan([0], "digits")
    study = jobs.load_study("digits", [0])
    counted = calibration.describe_data(study, "digits", 60.0)
    root.mkdir()
    counted.with_length(3 * 32, plan.costs).write(root)
    finished = training_runs.run(*arguments, "--output", output, timeout=1500)
    assert finished.returncode == 0, finished.stderr
    measured = json.loads((root / "costs.json").read_text())
    assert measured["original"]["vit_base"]["parameters"] == 18_979_338
    assert measured["original"]["vit_small"]["parameters"] == 21_342_346
    assert measured["original"]["dynamic_vit"]["parameters"] == 10_697_872
    assert measured["original"]["linear_vit"]["parameters"] == 8_923_786
    unpruned, pruned = (
        measured["trained"]["1"][name]["mflops"]
        for name in ("dynamic_vit", "dynamic_vit_pruned")
    )
    assert pruned < unpruned
    patches = measured["patches"]
    assert patches["dynamic_vit"] == [16]
    assert patches["dynamic_vit_random"] == [16, 16, 14]
    assert patches["dynamic_vit_random_alike"] == [16, 11, 7]
    assert patches["dynamic_vit_pruned"] == [16, 11, 7]
    assert (tmp_path / "figures" / "reproduce_attention.png").exists()
    assert "## 5. Conclusion" in output.read_text()
