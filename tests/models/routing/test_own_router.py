"""A router of one's own, by its name in a model."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import models
from tokenjax.errors import UserError
from tokenjax.models.routing import (
    ROUTERS,
    AttentionRouting,
    Routed,
    Router,
    register_router,
)
from tokenjax.ops.straight_through import straight_through

SMALL = {
    "img_size": 8,
    "patch_grid": 2,
    "encoder_channels": 4,
    "big_hidden_dim": 8,
    "small_hidden_dim": 4,
    "embed_dim": 4,
    "aggregator_dim": 4,
    "head_hidden_dim": 4,
}


class AboveMean(Router):
    """Send what is above an image's mean score, plus a learned margin."""

    @nn.compact
    def __call__(self, scores, train, temperature):
        margin = self.param("margin", nn.initializers.zeros, ())
        mean = scores.mean(axis=1, keepdims=True) + margin
        soft = nn.sigmoid((scores - mean) / temperature)
        hard = (scores >= mean).astype(scores.dtype)
        return Routed(straight_through(hard, soft), soft, mean.mean())


class Half(Router):
    """Mix both networks half and half."""

    is_soft = True

    def __call__(self, scores, train, temperature):
        mask = jnp.full_like(scores, 0.5)
        return Routed(mask, mask, jnp.zeros(()))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(ROUTERS, "_things", dict(ROUTERS._things))
    register_router("above_mean", AboveMean)
    register_router("half", Half)


def test_a_model_takes_it():
    model = models.create("attention_routing", router="above_mean", **SMALL)
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    masked = model.clone(execution="masked")
    variables = jax.jit(masked.init)(jax.random.key(1), images)
    assert set(variables["params"]["router"]) == {"margin"}
    _, aux = jax.jit(masked.apply)(variables, images)
    scores = np.asarray(aux["attention_scores"])
    np.testing.assert_array_equal(aux["mask"], scores >= scores.mean(1, keepdims=True))
    assert not model.runs_both(train=False)


class Embedding(AttentionRouting):
    """The two networks alone."""

    @nn.compact
    def __call__(self, patches, mask):
        return self.embed(self.parts(), patches, mask, False)


def test_a_soft_mask_runs_both_networks():
    model = Embedding(router="half", **SMALL)
    assert model.execution == "gathered"
    patches, ones = jnp.ones((1, 4, 48)), jnp.ones((1, 4))
    variables = jax.jit(model.init)(jax.random.key(1), patches, ones)
    both, big, small = (
        jax.jit(model.apply)(variables, patches, share * ones) for share in (0.5, 1, 0)
    )
    assert np.abs(big - small).max() > 0.01
    np.testing.assert_allclose(both, (big + small) / 2, rtol=1e-5)


def test_what_is_no_router_is_refused():
    class Silent(Router):
        pass

    for router, sentence in (
        (AttentionRouting, "must be a class derived from .*Router"),
        (len, "must be a class derived from .*Router"),
        (Silent, "must have a method __call__"),
    ):
        with pytest.raises(UserError, match=f"router 'mine'.*{sentence}"):
            register_router("mine", router)
    with pytest.raises(UserError, match="a router 'top_k' already"):
        register_router("top_k", AboveMean)
