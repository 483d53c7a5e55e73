"""DeMo with fewer tokens in its backbone: the same without any, and what is left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.small_models import small_demo
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.errors import UserError
from tokenjax.models import reduction
from tokenjax.models.demo import demo_reduction
from tokenjax.models.reduction import methods

NAMES = ("rgb", "nir", "tir")
CAMERA_VIT = {"transformer_type": "vit_base_patch16_224", "feat_dim": 64, "width": 64}
BACKBONES = {
    "clip": {},
    "camera": {**CAMERA_VIT, "fusion": "hdm_atm", "direct": False},
    "t2t": {
        **{"transformer_type": "t2t_vit_t_14", "image_size": (64, 32)},
        **{"patch_size": 16, "stride_size": (16, 16), "feat_dim": 16},
    },
}
OTHERS = ("camera", "t2t")


def start(model):
    images, cameras = model.example_inputs(2)
    generator = np.random.default_rng(1)
    images = {
        name: jnp.float32(generator.normal(size=image.shape))
        for name, image in images.items()
    }
    return drawn_variables(model, images, cameras), images, cameras


def run(model, variables, *inputs):
    return jax.jit(model.apply)(variables, *inputs)


@pytest.mark.parametrize(
    "backbone",
    [
        "clip",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("camera", "t2t")),
    ],
)
def test_none_is_what_it_was_and_what_merges_is_told_by_patch(backbone):
    whole = small_demo(**BACKBONES[backbone])
    variables, *inputs = start(whole)
    expected = run(whole, variables, *inputs)
    for name in NAMES:
        assert not any(expected["aux"]["reduction"][name])
    idle = run(whole.clone(reduction="tome:r=0"), variables, *inputs)
    jax.tree.map(np.testing.assert_array_equal, idle, expected)

    model = whole.clone(reduction="tome:r=2")
    found = run(model, variables, *inputs)
    patches = model.grid[0] * model.grid[1]
    shapes = {part: value.shape for part, value in expected["features"].items()}
    assert {part: value.shape for part, value in found["features"].items()} == shapes
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found["features"]))
    assert np.abs(found["features"]["direct"] - expected["features"]["direct"]).max()
    for name in NAMES:
        done = [entry for entry in found["aux"]["reduction"][name] if entry]
        sizes = done[-1]["sizes"][:, 1:]
        np.testing.assert_array_equal(sizes.sum(1), patches)
        assert sizes.shape[1] == patches - 2  # one block
    if not model.selects_tokens():
        return
    chosen = model.selection(found)
    assert chosen["mask"]["rgb"].shape[1] == patches
    for name in NAMES:
        held = demo_reduction.patch_map(found["aux"]["reduction"][name])
        mask = np.asarray(found["aux"]["mask"][name])
        by_patch = np.take_along_axis(mask, np.asarray(held), 1)
        np.testing.assert_array_equal(chosen["mask"][name], by_patch)
        weights = np.asarray(chosen["weights"][name])
        own = np.asarray(found["aux"]["aggregation"][name])
        np.testing.assert_allclose(weights.sum(-1), own.sum(-1), atol=1e-6)


class Halved(reduction.Reducer):
    """Drops the second half of the patches before a block."""

    site = "before"

    def amounts(self, encoder):
        return {0: encoder.patches // 2}

    def __call__(self, token_set, seen, place, train):
        kept = jnp.arange(place.amount, dtype=jnp.int32)
        kept = jnp.broadcast_to(kept, (len(token_set.tokens), place.amount))
        left, step = reduction.select_patches(token_set, kept)
        return left, reduction.Reduction(step)


class Learning(Halved):
    """Likewise, with a loss of its own."""

    learns = True


def test_dropped_patches_are_not_selected(monkeypatch):
    monkeypatch.setitem(methods.METHODS._things, "halved", Halved)
    model = small_demo(reduction="halved")
    variables, *inputs = start(model)
    chosen = model.selection(run(model, variables, *inputs))
    for name in NAMES:
        mask, scores = np.asarray(chosen["mask"][name]), chosen["scores"][name]
        half = mask.shape[1] // 2
        assert not mask[:, half:].any()
        assert mask[:, :half].any()
        assert not np.asarray(scores)[:, half:].any()
        assert not np.asarray(chosen["weights"][name])[..., half:].any()


def test_what_does_not_fit_is_a_sentence(monkeypatch):
    with pytest.raises(UserError, match="the image has 8 patches"):
        small_demo(reduction="tome:r=9")
    with pytest.raises(UserError, match="unknown method"):
        small_demo(reduction="tom")
    with pytest.raises(UserError, match="EViT only marks the tokens that are gone"):
        small_demo(reduction="evit:execution=masked")
    with pytest.raises(UserError, match="ATS only marks"):
        small_demo(reduction="ats")
    monkeypatch.setitem(methods.METHODS._things, "learning", Learning)
    with pytest.raises(UserError, match="Learning learns by losses of its own, which"):
        small_demo(reduction="learning")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_shares_of_tokens_are_shared_among_their_patches(seed):
    """Each patch weighs what its token does, over all patches of that token."""
    generator = np.random.default_rng(seed)
    held = generator.integers(-1, 4, (2, 6)).astype(np.int32)
    weights = generator.random((2, 3, 4), np.float32)
    found = np.asarray(demo_reduction.share_weights(jnp.asarray(weights), held))
    for image, patch in np.ndindex(held.shape):
        token = held[image, patch]
        count = (held[image] == token).sum()
        expected = weights[image, :, token] / count if token >= 0 else np.zeros(3)
        np.testing.assert_allclose(found[image, :, patch], expected, rtol=1e-6)


def test_the_mean_weighs_tokens_by_their_patches():
    entry = {"map": None, "sizes": jnp.array([[1.0, 3.0, 1.0]]), "scores": None}
    patches = jnp.array([[[2.0], [6.0]]])
    assert demo_reduction.mean_patches(patches, (None, entry, None)) == 3.0
    assert demo_reduction.mean_patches(patches, (None, None)) == 4.0
