"""bench.py --trace: a profile of each row, and tables of where its time goes."""

import csv
import gzip

import jax
import numpy as np
import pytest
from absl import flags

from tokenjax.benchmark import bench, command_line, tracing

SIZES = {"patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2}
SMALL = "--set=" + ",".join(f"{name}={value}" for name, value in SIZES.items())


def run(*arguments):
    values = flags.FlagValues()
    command_line.define_bench_flags(values)
    values(["bench.py", "--model=vit", "--image_size=16", "--repeats=5", *arguments])
    bench.main(["bench.py"], values)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_is_traced(tmp_path, capsys):
    run(SMALL, "--warmup=1", f"--trace={tmp_path / 'to'}", "--train")
    (folder,) = (tmp_path / "to").iterdir()
    assert folder.name == "vit-training-float32-batch_1"
    trace = tracing.newest_trace(folder)
    assert b"traceEvents" in gzip.decompress(trace.read_bytes())
    printed = capsys.readouterr().out
    assert "Where the time of vit goes: training, float32, batch 1, 10 calls" in printed
    assert str(trace) in printed
    parts = {each["Part of the model"]: each for each in read(folder / "parts.csv")}
    assert {"blocks_*/attn", "blocks_*/mlp/fc1 (backward)"} <= set(parts)
    assert tracing.hlo_text.OUTSIDE in parts  # AdamW
    assert tracing.kernel_times.UNKNOWN not in parts
    shares = [float(each["Share(%)"]) for each in parts.values()]
    rounding = 5e-5 * len(shares)  # the file has six digits of each
    assert sum(shares) == pytest.approx(100, abs=rounding)
    kernels = read(folder / "kernels.csv")
    seconds = [float(each["ms/call"]) for each in kernels]
    assert seconds == sorted(seconds, reverse=True)
    assert (folder / "summary.txt").read_text().startswith("Where the time of vit goes")


def test_a_program_run_as_graphs_is_traced_again_without(tmp_path, monkeypatch):
    compiled = []
    recompile = tracing.program.recompile

    def watched(made, options):
        compiled.append((made, options))
        return recompile(made, options)

    monkeypatch.setattr(tracing, "_hidden_in_graphs", lambda times: True)
    monkeypatch.setattr(tracing.program, "recompile", watched)
    run(SMALL, "--warmup=1", f"--trace={tmp_path / 'to'}")
    ((made, options),) = compiled
    assert options == {"xla_gpu_graph_min_graph_size": "1000000"}
    again = recompile(made, options)
    np.testing.assert_array_equal(
        again.function(*made.calls[0]), made.function(*made.calls[0])
    )
    folder = tmp_path / "to" / "vit-inference-float32-batch_1"
    assert tracing.newest_trace(folder / "without_graphs") != tracing.newest_trace(
        folder
    )


def test_a_profile_without_the_device_is_said(tmp_path, capsys, monkeypatch):
    nothing = tracing.kernel_times.summarize([], {}, 1)
    monkeypatch.setattr(tracing.kernel_times, "summarize", lambda *_: nothing)
    run(SMALL, "--warmup=1", f"--trace={tmp_path / 'to'}")
    assert "xplane.pb holds nothing that the device ran" in capsys.readouterr().err


def test_what_goes_wrong_is_said_and_the_rows_are_there(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    run(SMALL, "--warmup=1", f"--trace={tmp_path / 'file'}")
    printed = capsys.readouterr()
    assert "note: no trace of vit: " in printed.err
    assert "Latency_median(ms)" in printed.out
    with jax.profiler.trace(tmp_path / "another"):  # none is still going on
        pass
