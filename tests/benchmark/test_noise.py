"""Two runs of a benchmark: noise is no change, and a change is one all the same."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenjax.benchmark import latency, noise

RUNS = 100


def calls(generator, count=50, level=1.0, jitter=0.02, busy=0.0):
    """Return seconds of calls: jitter, and moments of ten calls up to twice as slow.

    `busy` is how likely a call starts such a moment.
    """
    seconds = level * (1 + jitter * np.abs(generator.standard_normal(count)))
    for start in np.flatnonzero(generator.random(count) < busy):
        seconds[start : start + 10] *= 1 + generator.random()
    return seconds


def written(seconds):
    return dataclasses.asdict(latency.summarize(np.asarray(seconds)))


def changed(make, runs=RUNS, seed=0):
    """Return the share of pairs of runs that differ; `make` draws one of a pair."""
    generator = np.random.default_rng(seed)
    found = [noise.compare(*make(generator)).changed for _ in range(runs)]
    return np.mean(found)


@pytest.mark.parametrize("busy", [0.0, 0.02, 0.1])
def test_runs_of_one_program_do_not_differ(busy):
    def make(generator):
        return [written(calls(generator, busy=busy)) for _ in range(2)]

    assert changed(make) <= 0.01


def test_a_machine_that_is_busy_all_the_while_is_told_by_the_product():
    """Every run is on a machine up to twice as slow, and so is its product."""

    def make(generator):
        slow = 1 + generator.random(2)
        products = [
            {"product": 10 * each * (1 + 0.03 * generator.standard_normal(2))}
            for each in slow
        ]
        return *(written(calls(generator, level=each)) for each in slow), *products

    def unknown(generator):
        return make(generator)[:2]

    assert changed(make) <= 0.02
    assert changed(unknown) > 0.5  # the product it is that tells


def test_the_program_that_was_slowed_down_most_counts():
    now, then = (written(calls(np.random.default_rng(0), level=x)) for x in (6, 1))
    products = {"product": (12.0, 13.0)}, {"product": (10.0, 10.0)}
    assert noise.compare(now, then, *products).changed
    chains = {"chain": (5.0, 8.0)}, {"chain": (1.0, 1.0)}
    both = [a | b for a, b in zip(products, chains, strict=True)]
    found = noise.compare(now, then, *both)
    assert found.machine == (pytest.approx(1.2, rel=0.01), pytest.approx(8, rel=0.02))
    assert not found.changed
    others = {"product": (10.0,)}, {"chain": (1.0,)}
    assert noise.compare(now, then, *others).machine == (1.0, 1.0)


def test_a_busy_half_of_one_run_is_no_change():
    quiet = calls(np.random.default_rng(0))
    busy = quiet.copy()
    busy[:30] *= 1.65
    found = noise.compare(written(busy), written(quiet))
    assert found.ratio > 1.4
    assert not found.changed


@pytest.mark.parametrize("factor", [1.3, 1 / 1.3])
@pytest.mark.parametrize(("busy", "share"), [(0.0, 0.98), (0.02, 0.75)])
def test_a_program_that_changed_is_found(factor, busy, share):
    def make(generator):
        now = calls(generator, level=factor, busy=busy)
        then = calls(generator, busy=busy)
        products = 10 * (1 + 0.02 * generator.standard_normal((2, 2)))
        return written(now), written(then), *({"product": each} for each in products)

    assert changed(make) >= share


def test_the_interval_holds_the_ratio():
    """Of calls in fives of equal ones: a fifth of them is independent."""
    generator, held = np.random.default_rng(1), 0
    for _ in range(RUNS):
        now, then = np.repeat(generator.exponential(size=(2, 20)), 5, axis=1)
        found = noise.compare(written(now + 1), written(then + 1))
        held += found.low <= 1 <= found.high
    assert held >= 0.9 * RUNS


def test_a_single_call_tells_nothing():
    found = noise.compare(written([2.0]), written([1.0]))
    assert (found.low, found.high, found.changed) == (0, np.inf, False)
    assert str(found) == "2.00 times, from a single call"


def test_of_a_run_without_its_calls_the_medians_intervals_count():
    then = {"median": 1.0, "minimum": 0.9, "low": 0.9, "high": 1.1}
    now = {"median": 1.5, "minimum": 1.4, "low": 1.4, "high": 1.6}
    found = noise.compare(now, then)
    assert (found.low, found.high) == (1.4 / 1.1, 1.6 / 0.9)
    assert found.changed
    assert str(found) == "1.50 times, 95 %: 1.27 to 1.78"
    wide = then | {"high": 1.35}
    assert not noise.compare(now, wide).changed


@given(
    st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=30),
    st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=30),
)
def test_the_other_way_round_is_the_opposite(first, second):
    one, other = written(first), written(second)
    forth, back = noise.compare(one, other), noise.compare(other, one)
    assert forth.ratio == pytest.approx(1 / back.ratio)
    assert forth.fastest == pytest.approx(1 / back.fastest)
    assert forth.low <= forth.high
    same = noise.compare(one, one)
    assert not same.changed


def test_resampled_medians_are_of_the_calls():
    seconds = np.arange(1.0, 12.0)
    medians = noise.resampled_medians(seconds, 0)
    assert medians.shape == (noise.RESAMPLES,)
    assert set(medians) <= set(seconds)
    assert abs(medians.mean() - 6) < 0.5
