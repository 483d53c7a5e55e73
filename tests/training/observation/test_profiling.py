"""A trace of the steps that were asked for, and a run that goes on without one."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from tokenjax.training.observation.profiling import Profile, newest_trace


@pytest.fixture
def said():
    return []


@pytest.fixture
def warned():
    return []


@jax.jit
def step(x):
    return x @ x


def run(profile, first, last):
    x = jnp.ones((4, 4))
    for number in range(first, last + 1):
        profile.before(number, x)
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            x = step(x)
        profile.after(number, x)
    profile.close(last)


def steps_in(trace):
    with gzip.open(trace) as file:
        events = json.load(file)["traceEvents"]
    return [int(e["args"]["step_num"]) for e in events if e.get("name") == "train"]


def test_the_steps_asked_for(tmp_path, said, warned):
    run(Profile(tmp_path, (3, 4), said.append, warned.append), 1, 6)
    trace = newest_trace(tmp_path / "profile")
    assert steps_in(trace) == [3, 4]
    assert list(trace.parent.glob("*.xplane.pb")), "what TensorBoard reads"
    assert not warned
    assert len(said) == 1
    assert "steps 3 to 4" in said[0]
    assert str(trace) in said[0]


def test_a_run_that_ends_during_its_trace(tmp_path, said, warned):
    run(Profile(tmp_path, (2, 9), said.append, warned.append), 1, 3)
    assert steps_in(newest_trace(tmp_path / "profile")) == [2, 3]
    assert "steps 2 to 3" in said[0]


def test_a_run_that_ends_before_its_trace(tmp_path, said, warned):
    run(Profile(tmp_path, (8, 9), said.append, warned.append), 1, 3)
    assert not said
    assert "observation.profile_after" in warned[0]


def test_a_profiler_that_is_in_use(tmp_path, said, warned):
    with jax.profiler.trace(tmp_path / "other"):
        run(Profile(tmp_path, (1, 2), said.append, warned.append), 1, 3)
    assert not said
    assert len(warned) == 1
    assert "training goes on" in warned[0]


def test_a_directory_that_cannot_be_made(tmp_path, said, warned):
    (tmp_path / "profile").write_text("a file")
    run(Profile(tmp_path, (1, 2), said.append, warned.append), 1, 3)
    assert not said
    assert len(warned) == 1
    assert "training goes on" in warned[0]


def test_none_was_asked_for(tmp_path, said, warned):
    run(Profile(tmp_path, None, said.append, warned.append), 1, 3)
    assert not said
    assert not warned
    assert not (tmp_path / "profile").exists()
