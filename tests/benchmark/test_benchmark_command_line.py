"""bench.py's flags: what they ask for, and one sentence for what they cannot."""

import csv
import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from tokenjax import benchmark
from tokenjax.benchmark import bench, command_line, memory
from tokenjax.benchmark.chosen_models import choose
from tokenjax.errors import UserError

REPOSITORY = pathlib.Path(__file__).parents[2]
SMALL = "--set=patch_size=8,depth=1,embed_dim=16,num_heads=2"
QUICK = ["--image_size=16", SMALL, "--repeats=5", "--warmup=1"]


def parse(*arguments):
    values = flags.FlagValues()
    command_line.define_bench_flags(values)
    values(["bench.py", *arguments])
    return values


def run(*arguments):
    values = parse(*arguments)
    bench.main(["bench.py"], values)


def requests(values):
    options = values.flag_values_dict()
    return command_line.by_batch_size(list(choose(options)), options)


def test_requests_are_models_by_batch_sizes():
    options = parse("--model=a", "--models=b,a", "--batch_size=1,8,1")
    wanted = requests(options)
    assert [(r.name, r.batch_size) for r in wanted] == [
        ("a", 1),
        ("a", 8),
        ("b", 1),
        ("b", 8),
    ]
    options = parse("--model=a", "--dtype=bfloat16,float32", "--train")
    wanted = requests(options)
    assert wanted == [("a", 1, "bfloat16", True), ("a", 1, "float32", True)]


@pytest.mark.parametrize(
    "bad",
    [
        "--batch_size=0",
        "--batch_size=x",
        "--repeats=0",
        "--dtype=int8",
        "--nme=a",
        "--peer=tf",
    ],
)
def test_bad_flags(bad):
    with pytest.raises(flags.Error):
        parse("--model=vdpa", bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a model"),
        (["--model=vdpx"], "did you mean 'vdpa'"),
        (["--models=vdpa,vdpx"], "unknown model 'vdpx'"),
        (["--model=vdpa", "--set=dpth=3"], "dpth"),
        (["--model=vdpa", "--csv=/no/such/place.csv"], "does not exist"),
        (["--model=vdpa", "--csv=/"], "is a directory"),
        (["--model=vdpa", "--json=/no/such/run.json"], "--json .* does not exist"),
        (["--model=vdpa", "--figure=figure.pdf"], "must end in .png"),
        (["--model=vdpa", "--compare=/no/such/run.json"], "is missing"),
        (["--model=vdpa", "--compare=requirements.txt"], "cannot be read"),
        (["--model=clip_vit", "--train"], "no classifier"),
        (["--model=sdtps", "--train"], "take --model demo"),
        (["--model=sdtps", "--batch_size=auto"], "take --model demo"),
    ],
)
def test_bad_requests_are_sentences(arguments, message):
    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_left_over_arguments():
    with pytest.raises(UserError, match="'vdpa'"):
        bench.main(["bench.py", "vdpa"], parse())


def fake_measure(
    name, model_kwargs, batch_size, dtype, image_size, timing, train, look=None
):
    """A made-up row; batch size 64 does not fit."""
    if batch_size == 64:
        raise memory.OutOfMemory(f"{name} does not fit")
    for _ in range(timing.warmup + timing.repeats // 2):  # as if time ran out
        timing.on_call()
    return benchmark.Row(
        model=name,
        parameters=1000,
        batch_size=batch_size,
        inputs=f"{batch_size}x{image_size}x{image_size}x3",
        flops=2000,
        latency=benchmark.Latency(
            *(1.0, 0.1, 0.1, 0.0, 0.1, 0.1, timing.repeats // 2, 0.09, 0.11)
        ),
        memory=benchmark.Memory(1, "made up"),
        dtype=dtype,
        device="none",
    )


def test_prints_rows_and_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench.measure, "measure_model", fake_measure)
    path = tmp_path / "rows.csv"
    run("--model=vdpa", "--batch_size=1,2", f"--csv={path}", *QUICK)
    printed = capsys.readouterr()
    assert "vdpa 1x16x16x3; vdpa 2x16x16x3" in printed.out
    assert "vdpa, batch 2, float32: 100%" in printed.err
    with open(path, newline="") as file:
        assert [row["Batch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_what_pytorch_has_no_program_of_is_measured_alone(capsys, monkeypatch):
    pytest.importorskip("torch")
    asked = []

    def measure_pairs(name, module, *_, **__):
        asked.append((name, module.depth, _[-1]))
        return fake_measure(name, {}, 1, "float32", 16, _[3], False), []

    monkeypatch.setattr(bench.measure, "measure_model", fake_measure)
    monkeypatch.setattr(bench.pairs, "measure_pairs", measure_pairs)
    models = "--models=linear_vit(depth=2),vit(depth=3)"
    run(models, "--peer=torch_eager", *QUICK[:1], *QUICK[2:])
    assert asked == [("vit", 3, "vit(depth=3)")]
    printed = capsys.readouterr()
    assert "note: linear_vit(depth=2): no PyTorch equivalent here" in printed.err
    assert "linear_vit(depth=2) 1x16x16x3" in printed.out
    with pytest.raises(UserError, match="linear_vit has no PyTorch equivalent"):
        run("--models=linear_vit", "--peer=torch_eager", *QUICK)


def test_a_row_that_does_not_fit_is_said_and_the_rest_goes_on(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(bench.measure, "measure_model", fake_measure)
    path = tmp_path / "rows.csv"
    run("--models=vdpa,vit", "--batch_size=64,8", f"--csv={path}", *QUICK)
    assert "vdpa does not fit" in capsys.readouterr().out
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["Model"], row["Batch"]) for row in rows] == [
        (name, size) for name in ("vdpa", "vit") for size in ("64", "8")
    ]
    assert [row["Problem"] for row in rows] == [
        *("vdpa does not fit", "", "vit does not fit", "")
    ]
    assert rows[0]["Latency_median(ms)"] == ""
    with pytest.raises(UserError, match="vdpa does not fit"):
        run("--model=vdpa", "--batch_size=64", *QUICK)


def test_the_program_without_tensorflow():
    """TensorFlow is blocked; a row is printed, and a wrong name exits with 2."""
    block = "import sys, runpy; sys.modules['tensorflow'] = None; "
    code = block + "runpy.run_path('bench.py', run_name='__main__')"
    cache = {"JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / ".cache" / "jax")}
    environment = {**os.environ, **cache, "PYTHONPATH": str(REPOSITORY)}
    good, bad = (
        subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        for arguments in (["--model=vdpa", *QUICK], ["--model=vdpx"])
    )
    assert good.returncode == 0, good.stderr
    assert "vdpa" in good.stdout
    assert bad.returncode == 2
    assert len(bad.stderr.strip().splitlines()) == 1
    assert "did you mean 'vdpa'" in bad.stderr
