"""A tiny re-identification task on a tiny generated set, for tests to import."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import data, experiment
from tokenjax.data.people import synthetic_reid
from tokenjax.training.settings import Settings

SIZE = {"height": 32, "width": 16}
MODEL = {
    "name": "demo",
    "stride_size": (8, 8),
    "patch_size": 8,
    "width": 16,
    "depth": 1,
    "num_heads": 2,
    "feat_dim": 16,
    "drop_path": 0.0,
    "sdtps_use_gumbel": True,
}


# Each is made once for all modules: fixtures that they import are made for each.
@functools.cache
def _generate(factory):
    path = factory.mktemp("reid") / "set"
    synthetic_reid.generate(path, 8, images_per_camera=2, cameras=3, **SIZE)
    return path


@functools.cache
def _load(directory):
    return load(directory)


@functools.cache
def _make(dataset):
    return make(dataset)


@functools.cache
def _initialise(task):
    return jax.jit(task.init)(jax.random.key(0))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Eight people by three cameras, twice each; four of the people to train on."""
    return _generate(tmp_path_factory)


@pytest.fixture(scope="module")
def dataset(directory):
    return _load(directory)


@pytest.fixture(scope="module")
def task(dataset):
    return _make(dataset)


@pytest.fixture(scope="module")
def variables(task):
    return _initialise(task)


def load(directory, **more):
    """The generated set lies in RGBNT201's folders."""
    return data.load({"source": "rgbnt201", "directory": str(directory)} | SIZE | more)


def make(dataset, reid=None, model=None, **more):
    """The task; `reid` and `model` are laid over the sections of these names."""
    config = {
        "task": "reid",
        "model": MODEL | (model or {}),
        "batch_size": 8,
        "label_smoothing": 0.1,
        "reid": {"backbone_learning_rate": 1e-3, "crop_padding": 2} | (reid or {}),
        "optimizer": {"name": "adam", "learning_rate": 1e-3, "decay": "all"},
    }
    return experiment.make_task(Settings.from_config(config | more), dataset)


def rows(split, indices):
    """A batch as it is on the device."""
    return jax.tree.map(jnp.asarray, split.gather(np.asarray(indices)))
