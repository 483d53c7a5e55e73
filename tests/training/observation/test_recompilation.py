"""A compilation in the middle of a run is a warning; the first of each part is not."""

import threading

import jax
import jax.monitoring
import jax.numpy as jnp
import pytest

from tokenjax.training.observation.recompilation import MOST_WARNINGS, Compilations


@pytest.fixture
def said():
    return []


@pytest.fixture
def compilations(said):
    found = Compilations(said.append)
    yield found
    found.close()


def make_step():
    @jax.jit
    def quick_step(state, batch):
        return state + batch.sum()

    return quick_step


BATCHES = {size: jnp.zeros((size, 2)) for size in range(3, 16)}
STATE = jnp.zeros(())


def test_a_batch_of_another_shape(compilations, said):
    step = make_step()
    for number in (1, 2):
        with compilations.during("training step", number):
            step(STATE, BATCHES[8])
    assert not said
    assert compilations.scalars()["compilation/count"] == 1
    with compilations.during("training step", 3):
        step(STATE, BATCHES[7])
    assert len(said) == 1
    for part in ("step 3:", "jit(quick_step)", "training step", "shape or type"):
        assert part in said[0]
    scalars = compilations.scalars()
    assert scalars["compilation/count"] == 1
    assert scalars["compilation/seconds"] > 0
    with compilations.during("evaluation", 3):
        make_step()(STATE, BATCHES[8])
    assert len(said) == 1, "each part compiles once"


def test_other_threads_and_other_times_are_only_counted(compilations, said):
    with compilations.during("training step", 1):
        pass
    make_step()(STATE, BATCHES[8])
    with compilations.during("training step", 2):
        thread = threading.Thread(target=lambda: make_step()(STATE, BATCHES[8]))
        thread.start()
        thread.join()
    assert not said
    assert compilations.scalars()["compilation/count"] == 2


def test_warnings_end(compilations, said):
    step = make_step()
    for size, batch in BATCHES.items():
        with compilations.during("training step", size):
            step(STATE, batch)
    assert len(said) == MOST_WARNINGS
    assert "counted alone" in said[-1]


def test_nothing_is_heard_after_the_end(said):
    compilations = Compilations(said.append)
    compilations.close()
    make_step()(STATE, BATCHES[8])
    assert compilations.scalars()["compilation/count"] == 0
