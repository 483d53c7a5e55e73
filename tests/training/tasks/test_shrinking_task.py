"""The shrinking task: recorded shares, and that a step hands them on."""

import math
import types
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import models
from tokenjax.data import ArraySplit
from tokenjax.errors import UserError
from tokenjax.models import contract, reduction
from tokenjax.models.reduction import Reducer, Reduction
from tokenjax.models.reduction.methods import METHODS
from tokenjax.training.settings import Settings
from tokenjax.training.state import TrainState
from tokenjax.training.tasks import Shrinking
from tokenjax.training.tasks.shrinking import shrink

SIZES = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 1}
VIT = SIZES | {"in_chans": 1, "num_classes": 10}


def test_recorded_keep_rates_of_training(golden):
    case = golden("reduction/evit_keep_rate_schedule")
    for setting in case.meta["arguments"]["settings"]:
        recorded = case[f"output/{setting['name']}/keep_rate"]
        first, steps = (
            setting[key] * setting["per_epoch"] for key in ("start", "epochs")
        )
        with jax.enable_x64(True):
            found = shrink(setting["base"], np.arange(len(recorded)), first, steps)
        np.testing.assert_allclose(found, recorded, rtol=0, atol=1e-15)


class Tells(Reducer):
    """Keeps every token, and has as its loss the share that it was to keep."""

    keep_rate: float = 0.5
    site: ClassVar = "between"

    def amounts(self, encoder):
        return {1: self.keep_rate}

    def kept_shares(self, encoder):
        return self.amounts(encoder)

    def __call__(self, token_set, seen, place, train):
        share = jnp.float32(place.amount)
        if self.has_variable(contract.SCHEDULE, "keep_rate"):
            share = self.get_variable(contract.SCHEDULE, "keep_rate")
        positions = jnp.arange(token_set.tokens.shape[1])
        step = jnp.broadcast_to(positions, token_set.tokens.shape[:2])
        return token_set, Reduction(step, losses={"share": share})


@pytest.fixture
def _known(monkeypatch):
    monkeypatch.setattr(METHODS, "_things", {**METHODS})
    reduction.register("tells", Tells)


def make_task(model, **sections):
    info = types.SimpleNamespace(
        num_classes=10,
        counts={"train": np.ones(10)},
        image_shape=(8, 8, 1),
        mean=(0.3,),
        std=(0.3,),
    )
    split = ArraySplit(
        np.zeros((20, 8, 8, 1), np.uint8), np.arange(20, dtype=np.int32) % 10
    )
    dataset = types.SimpleNamespace(info=info, train=split)
    settings = Settings.from_config({"task": "shrinking", "batch_size": 4, **sections})
    return Shrinking(model, dataset, settings)


@pytest.mark.usefixtures("_known")
def test_a_steps_share_reaches_the_reduction():
    model = models.create("vit_tiny_patch16", **VIT, reduction="tells")
    assert model.kept_shares() == {"encoder/blocks_1/reducer/keep_rate": 0.5}
    # Five steps an epoch: all are kept for two steps, then less for ten.
    shrinking = {"from_epochs": 0.4, "over_epochs": 2.0}
    task = make_task(model, shrinking=shrinking)
    params = jax.jit(task.init)(jax.random.key(0))["params"]
    batch = {"image": np.zeros((4, 8, 8, 1), np.uint8), "label": np.arange(4)}

    @jax.jit
    def scalars(step):
        state = TrainState(step, params, {}, None, None, None)
        return task.loss(state, batch, jax.random.key(1))[1][1]

    halfway = 0.5 + 0.5 * (math.cos(math.pi / 2) + 1) / 2
    for step, share in ((0, 1.0), (1, 1.0), (7, halfway), (12, 0.5), (99, 0.5)):
        found = scalars(step)
        assert found["kept_share"] == pytest.approx(share)
        assert found["share"] == pytest.approx(share), "as the reduction was told"


@pytest.mark.parametrize("spec", [None, "tome:r=1"])
def test_a_model_that_keeps_no_share_is_refused(spec):
    model = models.create("vit_tiny_patch16", **VIT, reduction=spec)
    assert model.kept_shares() == {}
    with pytest.raises(UserError, match='"shrinking" trains a model whose reduction'):
        make_task(model)
    with pytest.raises(UserError, match='"shrinking" trains a model whose reduction'):
        make_task(models.create("resnet50"))


def test_its_settings_are_its_own():
    with pytest.raises(UserError, match='shrinking is read by task "shrinking" alone'):
        Settings.from_config({"shrinking": {"from_epochs": 1.0}})
