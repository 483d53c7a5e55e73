"""A tiny re-identification task; training/tasks/conftest.py has it as fixtures."""

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax import data, experiment
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
