"""The complexity analysis: its table and figure, of named models and of runs."""

import csv
import dataclasses
import json

import jax
import pytest
from absl import flags
from helpers import training_runs
from PIL import Image

from tokenjax import models
from tokenjax.benchmark import analyze
from tokenjax.errors import UserError

ARGUMENTS = {"patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2}
SMALL = "--set=" + ",".join(f"{key}={value}" for key, value in ARGUMENTS.items())
TIMING = ["--repeats=5", "--warmup=1"]
QUICK = ["--image_size=16", SMALL, *TIMING]


def run(*arguments):
    values = flags.FlagValues()
    analyze.define_flags(values)
    values(["analyze", *map(str, arguments)])
    analyze.main(["analyze"], values)


def write_evaluation(path, top1=0.75):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"split": "test", "top1": top1}))
    return path


def write_run(directory, model, **data):
    data = {"source": "digits", "image_size": 16} | data
    write_evaluation(directory / "evaluation.json", 0.5)
    (directory / "config.json").write_text(json.dumps({"model": model, "data": data}))
    return directory


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def parameters(name, **arguments):
    module = models.create(name, **ARGUMENTS, **arguments)
    row = analyze.measure.measure_module(
        module, name, 1, timing=analyze.latency.Timing(1, 5)
    )
    return row.parameters


@pytest.fixture
def measured(monkeypatch):
    """What is measured, as (label, batch size), without measuring."""
    calls = []

    def stop(module, label, batch_size, *_):
        calls.append((label, batch_size))
        raise KeyboardInterrupt

    monkeypatch.setattr(analyze.measure, "measure_module", stop)
    return calls


def test_the_program(tmp_path):
    """Two models at two batch sizes, one of them evaluated."""
    evaluation = write_evaluation(tmp_path / "vit" / "evaluation.json")
    table = tmp_path / "out.csv"
    finished = training_runs.run(
        "-m tokenjax.benchmark.analyze",
        *["--models=vit,vdpa", "--batch_size=1,4", f"--csv={table}", *QUICK],
        f"--evaluations=vit={evaluation}",
    )
    assert finished.returncode == 0, finished.stderr
    assert "vdpa, batch 4, float32: 100%" in finished.stderr
    for part in ("Size(MB)", "float32 parameters", "2 per multiply-add", "Top-1(%)"):
        assert part in finished.stdout
    rows = read(table)
    assert [(row["Model"], row["Batch"]) for row in rows] == [
        *[("vit", "1"), ("vit", "4"), ("vdpa", "1"), ("vdpa", "4")]
    ]
    assert [row["Top-1(%)"] for row in rows] == ["75", "75", "", ""]
    for row in rows:
        size, count = float(row["Size(MB)"]), float(row["Params(M)"])
        assert size == pytest.approx(4 * count, rel=1e-4)
        assert float(row["GFLOPs"]) == pytest.approx(2 * float(row["GMACs"]), rel=1e-4)
        assert float(row["Latency_median(ms)"]) > 0
        assert {"Latency_mean(ms)", "Latency_std(ms)", "Images/s"} <= row.keys()
    assert rows[0]["GFLOPs"] == rows[1]["GFLOPs"]  # per image
    with Image.open(tmp_path / analyze.FIGURE) as figure:
        assert figure.format == "PNG"


def test_mistakes_end_the_program_with_a_sentence():
    finished = training_runs.run("-m tokenjax.benchmark.analyze", "--models=vitt")
    assert finished.returncode == 2
    assert finished.stderr.strip().count("\n") == 0
    assert "did you mean 'vit'" in finished.stderr


def test_runs_are_measured_as_they_were_trained(tmp_path):
    """Sizes that a configuration leaves out are those of its data."""
    vit = write_run(tmp_path / "a", {"name": "vit", **ARGUMENTS})
    deeper = {"name": "vit", **ARGUMENTS, "depth": 2, "img_size": 16}
    figure = tmp_path / "figure.png"
    run(
        f"--workdirs=one={vit},two={write_run(tmp_path / 'b', deeper)}",
        *[f"--csv={tmp_path / 'out.csv'}", f"--figure={figure}", *TIMING],
    )
    rows = read(tmp_path / "out.csv")
    assert [row["Model"] for row in rows] == ["one", "two"]
    assert [row["Top-1(%)"] for row in rows] == ["50", "50"]
    one, two = (float(row["Params(M)"]) * 1e6 for row in rows)
    assert one == pytest.approx(parameters("vit", img_size=16, in_channels=1), abs=1)
    assert one < two
    assert figure.exists()
    assert not (tmp_path / analyze.FIGURE).exists()


def test_accuracies_of_different_data_are_told_apart(tmp_path, capsys):
    """A column says which data, and each has a figure."""
    model = {"name": "vit", **ARGUMENTS}
    runs = {
        "a": write_run(tmp_path / "a", model),
        "b": write_run(tmp_path / "b", model, test_fraction=0.5),
        "c": write_run(tmp_path / "c", model),
    }
    given = ",".join(f"{name}={place}" for name, place in runs.items())
    figure, table = tmp_path / "figure.png", tmp_path / "out.csv"
    run(f"--workdirs={given}", f"--csv={table}", f"--figure={figure}", *TIMING)
    said = [row["Data"] for row in read(table)]
    assert said == ["digits, test (1)", "digits, test (2)", "digits, test (1)"]
    printed = capsys.readouterr().out
    assert "not to be compared across it" in printed
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["figure_1.png", "figure_2.png"]
    assert "figure_2.png shows accuracy over latency on digits, test (2)" in printed


def test_one_data_needs_no_column(tmp_path, capsys):
    places = [write_run(tmp_path / x, {"name": "vit", **ARGUMENTS}) for x in "ab"]
    subjects = analyze.trained_models({p.name: str(p) for p in places})
    assert len(analyze.different_data(subjects)) == 1
    assert "Data" not in [c.heading for c in analyze.make_columns(subjects)]
    failed = analyze.measure.failed_row("a", 1, "float32", False, "too large")
    analyze.draw_all([failed], subjects, tmp_path / "figure.png")
    assert "figure.png is not drawn: no latency of a, b" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_nothing_known_is_nothing_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("--models=vit", *QUICK)
    assert "Top-1" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_without_names_it_is_the_four_of_the_original(monkeypatch):
    """Sizes and parameters as its table's settings make them (spec of CIFAR-ViT)."""
    seen = {}

    def note(module, label, *_):
        images = module.example_inputs(1)
        shapes = jax.eval_shape(module.init, jax.random.key(0), *images)
        leaves = jax.tree.leaves(shapes["params"])
        seen[label] = images[0].shape[1:], sum(leaf.size for leaf in leaves)
        raise analyze.measure.memory.OutOfMemory("seen")

    monkeypatch.setattr(analyze.measure, "measure_module", note)
    with pytest.raises(UserError, match="seen"):
        run("--set=num_classes=10")
    sizes, counts = zip(*seen.values(), strict=True)
    assert set(sizes) == {(32, 32, 3)}
    assert dict(zip(seen, counts, strict=True)) == {
        "cifar_vit_base": 18_979_338,
        "cifar_vit_small": 21_342_346,
        "dynamic_vit(embed_dim=384,num_heads=6,predictor=linear,pruning=none)": (
            10_697_872
        ),
        "lightweight_vit": 8_923_786,
    }


def test_each_of_a_list_has_its_own_arguments_and_evaluation(tmp_path, monkeypatch):
    def make_up(module, label, batch_size, dtype, *_):
        row = analyze.measure.failed_row(label, batch_size, dtype, False, "")
        return dataclasses.replace(row, parameters=module.depth * 10**6)

    monkeypatch.setattr(analyze.measure, "measure_module", make_up)
    evaluation = write_evaluation(tmp_path / "evaluation.json")
    run(
        "--models=vit(depth=1,embed_dim=16), vit(depth=2,embed_dim=16),vdpa(depth=1)",
        f"--evaluations=vit(depth=2,embed_dim=16)={evaluation},vdpa={evaluation}",
        *["--set=patch_size=8,num_heads=2", "--image_size=16", *TIMING],
        f"--csv={tmp_path / 'out.csv'}",
    )
    first, second, third = read(tmp_path / "out.csv")
    assert first["Model"] == "vit(depth=1,embed_dim=16)"
    assert second["Model"] == "vit(depth=2,embed_dim=16)"
    assert [row["Params(M)"] for row in (first, second, third)] == ["1", "2", "1"]
    assert [first["Top-1(%)"], second["Top-1(%)"]] == ["", "75"]
    assert (third["Model"], third["Top-1(%)"]) == ("vdpa(depth=1)", "75")


def test_models_and_runs_together(tmp_path, measured):
    directory = write_run(tmp_path / "a", {"name": "vit", **ARGUMENTS})
    with pytest.raises(KeyboardInterrupt):
        run("--models=vit", f"--workdirs=trained={directory}", "--batch_size=2", *QUICK)
    assert measured == [("vit", 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models=vit,vdpx"], "did you mean 'vdpa'"),
        (["--models=vit", "--set=dpth=3"], "dpth"),
        (["--models=vit", "--evaluations=vti={good}"], "did you mean 'vit'"),
        (
            ["--models=vit(depth=1)", "--evaluations=vit={good},vit(depth=1)={good}"],
            r"names 'vit\(depth=1\)' twice",
        ),
        (
            ["--models=vit(depth=1),vit(depth=2)", "--evaluations=vit={good}"],
            r"unknown model 'vit'",
        ),
        (["--models=resnet50,vit", "--set=depth=2"], "unequal arguments in --models"),
        (["--models=vit(depth=1),vit(depth=1)"], "is there twice"),
        (["--models=vit", "--threads=4096"], "--threads 4096: this process may use"),
        (["--models=vit", "--evaluations={good}"], "--evaluations takes name=path"),
        (["--models=vit", "--evaluations=vit={good},vit={good}"], "'vit' twice"),
        (["--models=vit", "--evaluations=vit={good}.no"], "is missing"),
        (["--models=vit", "--evaluations=vit={csv}"], "cannot be read"),
        (["--models=vit", "--evaluations=vit={bad}"], "needs 'top1' within"),
        (["--models=vit", "--figure=a.png"], "needs accuracies"),
        (["--models=vit", "--evaluations=vit={good}", "--figure=a.pdf"], r"in \.png"),
        (["--models=vit", "--evaluations=vit={good}", "--figure=/no/a.png"], "not exi"),
        (["--models=vit", "--workdirs=vit={run}"], "both in --models and in"),
        (["--workdirs=vit={run}", "--image_size=32"], "--image_size is for --models"),
        (["--workdirs=vit={empty}"], r"config\.json is missing"),
        (["--workdirs=vit={odd}"], "is no run's configuration"),
        (["--workdirs=vit={wrong}"], "did you mean 'vit'"),
        (["--workdirs=vit={other}"], "model.img_size is 32, but digits has 16"),
    ],
)
def test_mistakes_are_said_before_measuring(tmp_path, measured, arguments, message):
    (tmp_path / "rows.csv").write_text("Model,\n")
    (tmp_path / "empty").mkdir()
    odd = write_run(tmp_path / "odd", {})
    places = {
        "good": write_evaluation(tmp_path / "good.json"),
        "bad": write_evaluation(tmp_path / "bad.json", None),
        "csv": tmp_path / "rows.csv",
        "run": write_run(tmp_path / "run", {"name": "vit", **ARGUMENTS}),
        "empty": tmp_path / "empty",
        "odd": odd,
        "wrong": write_run(tmp_path / "wrong", {"name": "vitt"}),
        "other": write_run(tmp_path / "other", {"name": "vit", "img_size": 32}),
    }
    with pytest.raises(UserError, match=message) as raised:
        run(*[argument.format(**places) for argument in arguments])
    assert "\n" not in str(raised.value)
    assert not measured
