"""Where the time goes: which waits for data cost something, and that shares add up."""

import threading
import time

import pytest

from tokenjax.training.observation.step_time import PARTS, StepTime, as_scalars


class Step:
    """Stands for a step's outputs: done when the test says so."""

    def __init__(self, done=True):
        self.event = threading.Event()
        self.noted = threading.Event()
        if done:
            self.event.set()

    def block_until_ready(self):
        self.event.wait(60)
        self.noted.set()
        return self


@pytest.fixture
def clock():
    found = StepTime()
    yield found
    found.close()


def test_a_wait_while_the_devices_work_costs_nothing(clock):
    first = Step(done=False)
    clock.dispatched(first)
    with clock.waiting():
        time.sleep(0.05)
    clock.dispatched(Step())
    first.event.set()
    steps, seconds = clock.split()
    assert steps == 2
    assert seconds["input_wait"] == 0
    assert seconds["compute"] >= 0.05


def test_a_wait_of_idle_devices_counts(clock):
    first = Step()
    clock.dispatched(first)
    clock.split()  # the devices have done all
    with clock.waiting():
        time.sleep(0.05)
    clock.dispatched(Step())
    with clock.busy("logging"):
        time.sleep(0.03)
    with clock.busy("evaluation"):
        time.sleep(0.02)
    steps, seconds = clock.split()
    assert steps == 1
    assert seconds["input_wait"] >= 0.05
    assert seconds["logging"] >= 0.03
    scalars = as_scalars(steps, seconds)
    shares = [scalars[f"time_share/{part}"] for part in PARTS]
    assert sum(shares) == pytest.approx(1)
    parts = sum(scalars[f"time/{part}"] for part in PARTS)
    assert scalars["time/per_step"] == pytest.approx(parts - scalars["time/evaluation"])


def test_of_a_wait_that_outlasts_the_step_before_the_rest_counts(clock):
    first = Step(done=False)
    clock.dispatched(first)
    begin = time.perf_counter()
    with clock.waiting():
        time.sleep(0.1)
        first.event.set()
        assert first.noted.wait(60)
        middle = time.perf_counter()
        time.sleep(0.1)
    whole = time.perf_counter() - begin
    clock.dispatched(Step())
    waited = clock.split()[1]["input_wait"]
    assert 0 < waited <= whole - 0.1
    assert waited <= whole - (middle - begin) + 0.1


def test_a_split_starts_anew(clock):
    clock.dispatched(Step())
    clock.split()
    steps, seconds = clock.split()
    assert steps == 0
    assert as_scalars(steps, seconds) == {}


def test_a_step_that_fails_does_not_end_the_clock(clock):
    class Failed:
        def block_until_ready(self):
            raise RuntimeError("out of memory")

    clock.dispatched(Failed())
    clock.dispatched(Step())
    assert clock.split()[0] == 2
