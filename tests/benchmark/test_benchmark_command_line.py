"""bench.py's flags: what they ask for, and one sentence for what they cannot."""

import csv
import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from tokenjax import benchmark
from tokenjax.benchmark import command_line
from tokenjax.errors import UserError

REPOSITORY = pathlib.Path(__file__).parents[2]
SMALL = "--set=patch_size=8,depth=1,embed_dim=16,num_heads=2"
QUICK = ["--image_size=16", SMALL, "--repeats=5", "--warmup=1"]


def parse(*arguments):
    values = flags.FlagValues()
    command_line.define_flags(values)
    values(["bench.py", *arguments])
    return values


def run(*arguments):
    values = parse(*arguments)
    command_line.main(["bench.py"], values)


def test_requests_are_models_by_batch_sizes():
    options = parse("--model=a", "--models=b,a", "--batch_size=1,8,1")
    wanted = command_line.requests(options.flag_values_dict())
    assert wanted == [("a", 1), ("a", 8), ("b", 1), ("b", 8)]


def test_constructor_arguments():
    texts = ["depth=4, depths=(2, 2),rate=1e-3", "pool=gem,names=['a','b=c'],flag=True"]
    assert command_line.parse_arguments(texts) == {
        "depth": 4,
        "depths": (2, 2),
        "rate": 1e-3,
        "pool": "gem",
        "names": ["a", "b=c"],
        "flag": True,
    }
    for bad in ("depth", "=3", "2x=3"):
        with pytest.raises(UserError, match="key=value"):
            command_line.parse_arguments([bad])


@pytest.mark.parametrize(
    "bad",
    ["--batch_size=0", "--batch_size=x", "--repeats=0", "--dtype=int8", "--nme=a"],
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
    ],
)
def test_bad_requests_are_sentences(arguments, message):
    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_left_over_arguments():
    with pytest.raises(UserError, match="'vdpa'"):
        command_line.main(["bench.py", "vdpa"], parse())


def fake_measure(name, model_kwargs, batch_size, dtype, image_size, timing):
    """A made-up row; batch size 64 does not fit."""
    if batch_size == 64:
        raise UserError("does not fit")
    for _ in range(timing.warmup + timing.repeats // 2):  # as if time ran out
        timing.on_call()
    return benchmark.Row(
        model=name,
        parameters=1000,
        batch_size=batch_size,
        inputs=f"{batch_size}x{image_size}x{image_size}x3",
        flops=2000,
        latency=benchmark.Latency(1.0, 0.1, 0.1, 0.0, 0.1, 0.1, timing.repeats // 2),
        memory=benchmark.Memory(1, "made up"),
        dtype=dtype,
        device="none",
    )


def test_prints_rows_and_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command_line.measure, "measure_model", fake_measure)
    path = tmp_path / "rows.csv"
    run("--model=vdpa", "--batch_size=1,2", f"--csv={path}", *QUICK)
    printed = capsys.readouterr()
    assert "vdpa 1x16x16x3; vdpa 2x16x16x3" in printed.out
    assert "vdpa, batch 2: 100%" in printed.err
    with open(path, newline="") as file:
        assert [row["Batch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_a_row_that_fails_leaves_those_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line.measure, "measure_model", fake_measure)
    path = tmp_path / "rows.csv"
    with pytest.raises(UserError, match="does not fit"):
        run("--model=vdpa", "--batch_size=8,64", f"--csv={path}", *QUICK)
    with open(path, newline="") as file:
        assert [row["Batch"] for row in csv.DictReader(file)] == ["8"]


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
