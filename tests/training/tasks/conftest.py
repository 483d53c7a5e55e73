"""A tiny re-identification task on a tiny generated set, made once for all tests."""

import jax
import pytest
from helpers.reid_tasks import SIZE, load, make

from tokenjax.data.people import synthetic_reid


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    """Eight people by three cameras, twice each; four of the people to train on."""
    path = tmp_path_factory.mktemp("reid") / "set"
    synthetic_reid.generate(path, 8, images_per_camera=2, cameras=3, **SIZE)
    return path


@pytest.fixture(scope="session")
def dataset(directory):
    return load(directory)


@pytest.fixture(scope="session")
def task(dataset):
    return make(dataset)


@pytest.fixture(scope="session")
def variables(task):
    return jax.jit(task.init)(jax.random.key(0))
