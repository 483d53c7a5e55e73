"""Calls that are queued: how many, what is waited for, and what is made of it."""

import dataclasses
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import benchmark
from tokenjax.benchmark import latency, measure, pairs, queueing, report, turns
from tokenjax.benchmark.latency import Timing


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Let time pass by sleeping alone, so that a busy machine changes nothing."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))


@pytest.mark.parametrize(
    ("seconds", "max_seconds", "calls"),
    [
        ([0.01], 60, 8),
        ([0.081], 60, 1),
        ([0.03], 60, 3),
        ([0.01, 0.02], 60, 8),  # the fastest
        ([0.001, 1.0], 60, 9),  # what there is time for: 6 groups of both
        ([0.01], 0.1, 1),
        ([1e-9], 60, queueing.MOST_CALLS),
    ],
)
def test_how_many_calls_make_a_group(seconds, max_seconds, calls):
    assert queueing.calls_for(seconds, Timing(max_seconds=max_seconds)) == calls


def test_on_a_cpu_only_who_asks_queues(monkeypatch):
    assert not queueing.wanted(Timing())
    assert queueing.wanted(Timing(queue=True))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert queueing.wanted(Timing())
    assert not queueing.wanted(Timing(queue=False))


@pytest.mark.parametrize(("backend", "kept"), [("cpu", [0, 1, 0, 1, 0]), ("gpu", [0])])
def test_a_group_is_waited_for_once(monkeypatch, backend, kept):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    waited = []

    def wait(outputs):
        time.sleep(0.05)
        waited.append(list(outputs))

    seconds = queueing.time_group(lambda x: x, wait, [(0,), (1,)], 5)
    assert waited == [kept]
    assert seconds == pytest.approx(0.01)


@pytest.mark.parametrize(("backend", "waited"), [("cpu", 3), ("gpu", 1)])
def test_outputs_are_truly_waited_for(monkeypatch, backend, waited):
    class Output:
        def block_until_ready(self):
            log.append(self)

    log = []
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    queueing.time_group(lambda: {"a": (Output(),)}, queueing.wait, [()], 3)
    assert len(log) == waited


def test_what_a_later_call_has_overwritten_is_not_waited_for():
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    states = [jnp.zeros(3)]
    for _ in range(3):
        states.append(step(states[-1]))
    assert states[0].is_deleted()
    queueing.wait([states, "no array"])
    np.testing.assert_array_equal(states[-1], 3)


def test_groups_are_as_many_as_asked_for_and_as_there_is_time():
    def call(x):
        time.sleep(1 / 256)
        return x

    timing = Timing(repeats=30, queue=True)
    queued = queueing.time_queued(call, [(0,)], timing, 0.02)
    assert len(queued.seconds) == 6
    assert queued.calls == 21  # by the group before them, not by 0.02
    np.testing.assert_array_equal(queued.seconds, 1 / 256)
    summary = queueing.summary(queued)
    assert (summary.repeats, summary.calls) == (6, queued.calls)
    short = Timing(repeats=300, queue=True, max_seconds=0.12)
    queued = queueing.time_queued(call, [(0,)], short, 1 / 256)
    assert (queued.calls, len(queued.seconds)) == (5, 7)
    shorter = dataclasses.replace(short, max_seconds=0.03)
    assert queueing.time_queued(call, [(0,)], shorter, 0.001) is None
    assert queueing.time_queued(call, [(0,)], timing, 0.1) is None
    assert queueing.time_queued(call, [(0,)], Timing(), 0.02) is None
    assert queueing.summary(None) is None


def test_a_row_has_both(monkeypatch):
    class Slow(nn.Module):
        def example_inputs(self, batch_size):
            return (jnp.ones((batch_size, 3)),)

        @nn.compact
        def __call__(self, x, train=False):
            return nn.Dense(2)(x), {}

    inference = measure.program.inference

    def slow(*arguments):
        made = inference(*arguments)

        def function(*call):
            time.sleep(1 / 64)
            return made.function(*call)

        return dataclasses.replace(made, function=function)

    monkeypatch.setattr(measure.program, "inference", slow)
    timing = Timing(warmup=1, repeats=5, queue=True)
    row = measure.measure_module(Slow(), "slow", 2, timing=timing)
    assert (row.queued.repeats, row.queued.calls) == (5, 6)
    assert row.queued.median == 1 / 64
    assert row.latency.calls == 1
    assert row.images_per_second == 2 / row.queued.median
    on_h100 = dataclasses.replace(row, device="NVIDIA H100 80GB HBM3")
    rate = row.flops / row.queued.median
    assert on_h100.utilization == pytest.approx(rate / 494.7e12)
    found = "\n".join(benchmark.table.how_found([on_h100], 1))
    assert f"among {row.queued.calls} that are queued" in found
    assert "Images/s and Peak are of it" in found


def contestants(log):
    """Ours is ready at once, theirs when it is waited for."""

    def start(name, seconds):
        def call(x):
            time.sleep(seconds)
            log.append(name)
            return x

        return call

    def wait(outputs):
        log.append("wait")

    ours = turns.Contestant("ours", 2.0, start("ours", 0.008), [(0,)])
    theirs = turns.Contestant("theirs", 1.0, start("waits", 0.032), [(0,)])
    theirs = theirs._replace(queue=start("theirs", 0.016), wait=wait)
    return [ours, theirs]


def test_contestants_queue_as_many_calls_in_turns():
    log = []
    times = turns.measure(contestants(log), Timing(0, 5, queue=True))
    assert times.waited.shape == times.queued.shape == (5, 2)
    assert times.calls == 10
    assert log[:10] == ["ours", "waits"] * 5
    assert log[-21:] == [*(["ours"] * 10), *(["theirs"] * 10), "wait"]
    np.testing.assert_allclose(times.waited, [[0.008, 0.032]] * 5)
    np.testing.assert_allclose(times.queued, [[0.008, 0.016]] * 5)
    ours, theirs = turns.compare("c", contestants([]), 4, Timing(0, 5, queue=True))
    assert (ours.ratio, ours.ideal, theirs.ideal) == (1, 1, 0.5)
    assert theirs.ratio == pytest.approx(2)
    assert ours.images_per_second == 4 / ours.queued.median
    nothing = turns.measure(contestants([]), Timing(0, 5))
    assert (nothing.queued, nothing.calls) == (None, 1)
    assert nothing.best is nothing.waited
    assert nothing.queued_of(0) is None


def row(**more):
    made = measure.failed_row("a", 2, "float32", False, "")
    timed = latency.summarize(np.full(5, 0.1))
    return dataclasses.replace(made, latency=timed, flops=1, parameters=1, **more)


def test_a_pairs_ratio_is_that_of_queued_calls():
    pytest.importorskip("torch")
    waited, queued = np.array([[2.0, 4.0]] * 5), np.array([[1.0, 4.0]] * 6)
    pair = pairs.make_pair(row(), "eager", "s", turns.Times(waited), 1, 0.0)
    assert (pair.ratio, pair.waited_ratio, pair.queued) == (0.5, 0.5, None)
    assert "Ours_queued(ms)" not in pairs.format_pairs([pair])
    times = turns.Times(waited, queued, 9)
    pair = pairs.make_pair(row(), "eager", "s", times, 1, 0.0)
    assert (pair.ratio, pair.waited_ratio) == (0.25, 0.5)
    assert [each.median for each in pair.queued] == [1, 4]
    assert [each.calls for each in pair.queued] == [9, 9]
    assert (pair.ours.median, pair.theirs.median) == (2, 4)
    lines = pairs.format_pairs([pair]).splitlines()
    assert "2000.00     4000.00   0.500          1000.00" in lines[2]
    assert pairs.QUEUED in lines


def test_a_run_of_before_is_compared_by_what_it_has(tmp_path):
    where = {"hardware": "here", "jax": "1", "reference_product_ms": 1.0}
    queued = latency.summarize(np.full(5, 0.05), calls=3)
    slower = latency.summarize(np.full(5, 0.06), calls=3)
    then, path = row(queued=queued), tmp_path / "run.json"
    report.write(path, [then], [], {}, where)
    old = report.read(path)
    *found, _ = report.changes(old, [row(queued=slower)], where)
    assert found == [
        "a inference float32 batch 2: queued median 50.00 -> 60.00 ms (1.20 times, "
        "95 %: 1.20 to 1.20)"
    ]
    for each in old["rows"]:
        del each["queued"]
        del each["latency"]["calls"]
    *found, last = report.changes(old, [row(queued=slower)], where)
    assert found == []
    assert last.startswith("1 of 1 rows are in both runs; of 1 nothing changed")
    assert report.changes(report.read(path), [row()], where)[:-1] == []
