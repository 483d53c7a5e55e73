"""Runs as JSON, what has changed since one, and the search for the best batch."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenjax import benchmark
from tokenjax.benchmark import (
    latency,
    markdown,
    measure,
    memory,
    pairs,
    report,
    session,
    table,
)
from tokenjax.errors import UserError

KEYS = dict.fromkeys(report.KEY, "a")
WHERE = {"hardware": "here", "jax": "1", "reference_product_ms": 10.0}


def row(median=0.1, spread=0.001, model="a", batch_size=1, dtype="float32", **more):
    timed = benchmark.Latency(
        *(1.0, median, median, spread, median, median, 50),
        low=median - spread,
        high=median + spread,
    )
    made = benchmark.Row(
        model=model,
        parameters=1000,
        batch_size=batch_size,
        inputs=f"{batch_size}x512x512x3",
        image_size=(512, 512),
        flops=2 * 10**9 * batch_size,
        latency=timed,
        memory=memory.Memory(1, memory.COMPILER),
        dtype=dtype,
        device="cpu",
    )
    return dataclasses.replace(made, **more)


def written(tmp_path, rows, **where):
    path = tmp_path / "run.json"
    report.write(path, rows, [], {"model": "a"}, {**WHERE, **where})
    return report.read(path)


def test_what_is_written(tmp_path):
    run = written(
        tmp_path, [row(), measure.failed_row("b", 64, "float32", False, "no")]
    )
    assert run["settings"] == {"model": "a"}
    assert run["environment"]["hardware"] == "here"
    assert run["rows"][0]["latency"]["median"] == 0.1
    assert run["rows"][1]["problem"] == "no"
    environment = report.environment()
    assert environment["reference_product_ms"] > 0
    json.dumps(environment)


def test_changes_beyond_the_noise(tmp_path):
    old = written(tmp_path, [row(), row(model="b"), row(model="c", spread=0.05)])
    new = [row(0.12), row(0.102, model="b"), row(0.12, spread=0.05, model="c")]
    *found, last = report.changes(old, new, WHERE)
    assert found == [
        "a inference float32 batch 1: median 100.00 -> 120.00 ms (1.20 times, 95 %: "
        "1.18 to 1.22)",
        "c inference float32 batch 1: median 100.00 -> 120.00 ms (1.20 times, 95 %: "
        "0.47 to 3.40): within the noise",
    ]
    assert last.startswith("3 of 3 rows are in both runs; of 2 nothing changed")


def test_a_machine_that_is_slower_all_over_a_run_explains_it(tmp_path):
    then = {"product": (20.0, 20.0), "chain": (1.0, 1.0)}
    now = {"product": (32.0, 32.0), "chain": (1.5, 1.5)}
    old = written(
        tmp_path,
        [row(reference_ms=then), row(model="b"), row(model="c")],
        reference_product_ms=20.0,
    )
    new = [row(0.165, reference_ms=now), row(0.165, model="b"), row(0.3, model="c")]
    machine, *found, last = report.changes(
        old, new, WHERE | {"reference_product_ms": 32.0}
    )
    assert machine.startswith("the machine itself: a plain product takes 1.60 times")
    said = (
        "{} inference float32 batch 1: median 100.00 -> 165.00 ms (1.65 times, 95 %: "
        "1.62 to 1.68): within the noise; the machine took 1.50 to 1.60 times for "
        "plain products"
    )
    assert found == [
        said.format("a"),
        said.format("b"),
        "c inference float32 batch 1: median 100.00 -> 300.00 ms (3.00 times, 95 %: "
        "2.96 to 3.04)",
    ]
    assert "of 2 nothing changed" in last


def test_a_product_is_timed_beside_a_row():
    (made,) = report.beside_reference(lambda: [row()])
    assert set(made.reference_ms) == {"product", "chain"}
    assert all(len(x) == 2 and min(x) > 0 for x in made.reference_ms.values())
    assert dataclasses.replace(made, reference_ms=row().reference_ms) == row()


def test_changes_of_what_is_counted_and_of_the_machine(tmp_path):
    old = written(tmp_path, [row()], reference_product_ms=8.0, jax="0")
    more = row(flops=3 * 10**9)
    gone = dataclasses.replace(
        row(model="b"), latency=None, memory=None, problem="too large"
    )
    found = report.changes(old, [more, gone], WHERE)
    assert found[:3] == [
        "jax was 0, is 1",
        "the machine itself: a plain product takes 1.25 times as long",
        "a inference float32 batch 1: flops 2000000000 -> 3000000000",
    ]
    assert found[3].startswith("1 of 2 rows are in both runs; of 0 nothing changed")
    old = written(tmp_path, [row(model="b")])
    assert "b inference float32 batch 1: too large" in report.changes(
        old, [gone], WHERE
    )


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{}", '{"format": 0, "rows": []}', '{"format": 1, "rows": [{}]}'),
        json.dumps({"format": 1, "rows": [KEYS | {"latency": {"median": None}}]}),
        json.dumps({"format": 1, "rows": [KEYS | {"latency": [1]}]}),
    ],
)
def test_a_file_of_another_kind(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"run\.json"):
        report.read(path)


def test_the_interval_holds_the_median():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        low, high = latency.median_interval(generator.exponential(size=30))
        held += low <= np.log(2) <= high
    assert 0.93 <= held / 400 <= 0.99


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=40))
def test_the_interval_is_of_values_and_in_order(values):
    low, high = latency.median_interval(np.array(values))
    assert low <= np.median(values) <= high
    assert low in values
    assert high in values


@pytest.mark.parametrize(
    ("per_second", "tried"),
    [
        ([10, 20, 40, 41, 40.5, 60], 5),  # twice next to nothing
        ([10, 20, None], 3),  # does not fit
        ([10, 10.1, 20, 20, 20], 5),  # once is no reason to stop
    ],
)
def test_the_search_for_a_batch(per_second, tried):
    def at(batch_size):
        speed = per_second[batch_size.bit_length() - 1]
        if speed is None:
            return measure.failed_row("a", batch_size, "float32", False, "too large")
        return row(batch_size / speed, batch_size=batch_size)

    rows = list(session.search(at))
    assert [each.batch_size for each in rows] == [2**i for i in range(tried)]
    best = max(speed for speed in per_second[:tried] if speed)
    (sentence,) = session.best_batches(rows)
    assert f"({best:.1f} images/s)" in sentence


def test_the_search_ends_where_the_plans_leave_no_room(monkeypatch):
    gibibytes = {1: 3, 2: 4, 4: 6, 8: 10, 16: 18}  # 2 and 1 for each image
    asked = []

    def at(batch_size):
        asked.append(batch_size)
        return row(
            batch_size=batch_size, planned=gibibytes[batch_size] * 2**30, spread=0
        )

    def found(room):
        asked.clear()
        monkeypatch.setattr(session.memory, "room", lambda device: room)
        return list(session.search(at, session.too_large))

    *_, last = found(17.9 * 2**30)
    assert asked == [1, 2, 4, 8]
    assert last.latency is None
    assert last.problem == (
        "a with batch size 16 is not tried: it would need about 18.0 GiB by the plans "
        "of the sizes before, and 17.9 GiB of cpu are free"
    )
    assert (last.batch_size, last.dtype, last.mode) == (16, "float32", "inference")
    assert [each.batch_size for each in found(3 * 2**30)] == [1, 2, 4]
    monkeypatch.setattr(session, "MOST_DOUBLINGS", 5)
    assert found(18 * 2**30)[-1].problem == ""
    assert found(None)[-1].problem == ""
    assert asked == [1, 2, 4, 8, 16]


def test_the_columns_of_the_original():
    rows = [row(0.1), row(0.05, dtype="bfloat16"), row(0.2, batch_size=8)]
    columns = {c.heading: c for c in table.columns_of_the_original(rows)}
    assert [columns["Latency_FP32_median(ms)"].value(each) for each in rows] == [
        *(100, None, 200)
    ]
    mixed = [columns["Latency_AMP_median(ms)"].value(each) for each in rows]
    assert mixed == [50, 50, None]
    assert columns["GFLOPs@512^2"].value(rows[2]) == 2.0
    for other in (None, (512, 256), (256, 256)):
        sizes = [*rows, row(image_size=other)]
        headings = [c.heading for c in table.columns_of_the_original(sizes)]
        # What has no square images takes nothing away; another square does.
        assert ("GFLOPs@512^2" in headings) is (other != (256, 256))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_originals_mixed_precision_is_either(dtype):
    rows = [row(0.1), row(0.05, dtype=dtype)]
    columns = {c.heading: c for c in table.columns_of_the_original(rows)}
    mixed = columns["Latency_AMP_median(ms)"]
    assert [mixed.value(each) for each in rows] == [50, 50]
    single = columns["Latency_FP32_median(ms)"]
    assert [single.value(each) for each in rows] == [100, None]


def test_ours_and_pytorchs_in_one_markdown_table(tmp_path):
    """A row that PyTorch has no program of is there as well."""
    both = pairs.Pair(
        *("a", 1, "float32", "inference", "eager", "theirs"),
        *(row(0.1).latency, row(0.2).latency, 0.5, 0.4, 0.6, 1e-6, (2, 1)),
    )
    path = tmp_path / "run.md"
    command = {"command": "bench.py --models 'vit(depth=1),a'"}
    made = [row(model="vit(depth=1)"), row(), row(batch_size=2)]
    markdown.write(path, made, [both], 3, command)
    lines = path.read_text().splitlines()
    assert lines[0] == "    bench.py --models 'vit(depth=1),a'"
    cells = [
        [c.strip() for c in line.split("|")[1:-1]] for line in lines if "|" in line
    ]
    first, second, third = (dict(zip(cells[0], x, strict=True)) for x in cells[2:])
    assert (first["Model"], first["Ours/theirs"]) == ("vit(depth=1)", "–")
    assert (second["GFLOPs"], second["GMACs"]) == ("2.000", "1.000")
    assert second["Latency_median(ms)"] == "100.00"
    assert second["PyTorch eager(ms)"] == "200.00"
    assert (second["Ours/theirs"], second["95%"]) == ("0.500", "0.400-0.600")
    assert second["Difference"] == "1.0e-06"
    assert third["Ours/theirs"] == "–"  # another batch
    text = path.read_text()
    assert "FLOPs: 2 per multiply-add" in text
    assert "Threads of the CPU: ours 2, PyTorch's 1." in text
    assert list(tmp_path.iterdir()) == [path]


def test_the_commit_of_these_files_alone(tmp_path, monkeypatch):
    package = pathlib.Path(report.__file__).parent
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?", report.commit(package) or "f" * 12)
    assert report.commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert report.commit(package) is None


def test_the_part_of_the_peak():
    for dtype in ("bfloat16", "float16"):
        made = row(0.001, flops=10**12, device="NVIDIA H200", dtype=dtype)
        assert made.utilization == pytest.approx(1e15 / 989.4e12)
    made = row(0.001, flops=10**12, device="NVIDIA H200")
    assert made.utilization == pytest.approx(1e15 / 494.7e12)
    assert row(device="TPU v4", dtype="float16").utilization is None
    made = row(0.001, flops=10**12, device="NVIDIA H200", dtype="bfloat16")
    assert row().utilization is None
    assert table.PEAK in table.columns_for([made])
