"""Timing: how many calls, which inputs, when it stops."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.benchmark import Timing, latency, measure_latency


def test_counts_calls_and_orders_statistics():
    calls = []
    timing = Timing(warmup=2, repeats=7, on_call=lambda: calls.append(None))
    result = measure_latency(lambda x: x @ x, [(jnp.ones((32, 32)),)], timing)
    assert len(calls) == 9
    assert result.repeats == 7
    assert 0 < result.minimum <= result.median <= result.p90
    assert result.minimum <= result.mean
    assert result.compile_seconds > 0


def test_statistics():
    result = latency.summarize(np.arange(1.0, 12.0), 3.0)
    assert (result.mean, result.median, result.p90, result.minimum) == (6, 6, 10, 1)
    assert result.std == pytest.approx(np.sqrt(10))


def test_one_call_has_no_spread_and_what_was_compiled_elsewhere_no_seconds():
    result = latency.summarize(np.array([2.0]))
    assert (result.std, result.low, result.high) == (None, None, None)
    assert result.compile_seconds is None
    assert result.seconds == (2.0,)
    several = latency.summarize(np.array([2.0, 1.0]), 3.0)
    assert (several.low, several.high, several.seconds) == (1, 2, (2.0, 1.0))


def test_inputs_are_rotated():
    seen = []

    def function(x):
        seen.append(x)
        return jnp.zeros(())

    latency.time_calls(function, [("a",), ("b",), ("c",)], Timing(warmup=1, repeats=4))
    assert seen == ["a", "a", "b", "c", "a"]


def test_a_time_budget_keeps_five_calls():
    def slow(x):
        time.sleep(0.01)
        return x

    timing = Timing(warmup=100, repeats=100, max_seconds=0.02)
    calls = []
    timing = Timing(100, 100, 0.02, lambda: calls.append(None))
    seconds = latency.time_calls(slow, [(jnp.zeros(()),)], timing)
    assert len(seconds) == latency.FEWEST_REPEATS
    assert len(calls) == 1 + latency.FEWEST_REPEATS
    assert seconds.min() >= 0.01


def test_a_jitted_function_and_a_tree_of_arguments():
    arguments = ({"w": jnp.ones((4, 4))}, jnp.ones((2, 4)))
    function = jax.jit(lambda variables, x: x @ variables["w"])
    assert measure_latency(function, [arguments], Timing(1, 3)).repeats == 3


def test_bad_requests():
    with pytest.raises(ValueError, match="at least one tuple"):
        measure_latency(lambda x: x, [])
    for arguments in ((-1, 1), (0, 0), (0, 1, 0.0)):
        with pytest.raises(ValueError, match="warmup must be"):
            Timing(*arguments)
