"""Classifiers that read more than the class token, over tokens that merged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reduced_models
from helpers.drawn_variables import drawn_variables

from tokenjax import models
from tokenjax.models.reduction import TokenSet, select_patches
from tokenjax.models.reduction.token_set import mark_patches

POOLED = {"global_pool": "avg"}
CASES = {
    "tome_vit_distilled": ("tome", ("r", "prop_attn"), {"distilled": True}),
    "tome_mae": ("tome", ("r", "prop_attn"), POOLED),
}


@pytest.fixture(scope="module")
def computed(golden):
    """name -> (recorded, computed)."""

    @functools.cache
    def compute(name):
        case = golden(f"reduction/{name}")
        method, keys, more = CASES[name]
        recorded = reduced_models.build_recorded(case, method, keys, **more)
        return recorded, reduced_models.compute(recorded)

    return compute


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_maps(computed, assert_close, name):
    reduced_models.check_outputs(*computed(name), assert_close)


@pytest.mark.parametrize("name", CASES)
def test_gradients(computed, assert_close, name):
    reduced_models.check_gradients(*computed(name), assert_close)


def token_set(**more):
    """Two images of a class token and four patches."""
    tokens = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)
    return TokenSet.start(tokens, protected=1).replace(**more)


def test_a_mean_weighs_by_size():
    sizes = jnp.asarray([[9, 1, 2, 3, 0.5], [9, 1, 1, 1, 1]])
    plain, weighed = token_set(), token_set(sizes=sizes)
    patches = np.asarray(plain.patches)
    np.testing.assert_allclose(plain.mean_patch(), patches.mean(axis=1), rtol=1e-6)
    expected = np.average(patches[0], axis=0, weights=[1, 2, 3, 0.5])
    np.testing.assert_allclose(weighed.mean_patch()[0], expected, rtol=1e-6)
    np.testing.assert_allclose(weighed.mean_patch()[1], plain.mean_patch()[1])


def test_what_is_marked_as_dropped_is_in_no_mean():
    whole = token_set(sizes=jnp.asarray([[1.0, 4, 3, 2, 1]] * 2))
    kept, keep = np.asarray([[0, 2], [1, 3]]), np.zeros((2, 4), np.float32)
    np.put_along_axis(keep, kept, 1, axis=1)

    @jax.jit
    def gather():
        return select_patches(whole, jnp.asarray(kept))[0].mean_patch()

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def mark(keep):
        mean = mark_patches(whole, keep)[0].mean_patch()
        return mean.sum(), mean

    (_, marked), slopes = mark(keep)
    np.testing.assert_allclose(marked, gather(), rtol=1e-6)
    assert np.abs(slopes).min() > 0  # so decisions can be learned
    (_, nothing), slopes = mark(0 * keep)
    np.testing.assert_array_equal(nothing, 0)
    assert np.isfinite(slopes).all()


def test_what_leads_stays_and_scales_and_norms_act():
    """ToMe's own block skips a layer scale and norms of queries and keys."""
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2}
    more = {"num_heads": 2, "reg_tokens": 2, "init_values": 0.1, "qk_norm": True}
    plain = models.create("vit_base_patch16", num_classes=3, **sizes, **more)
    images = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    variables = drawn_variables(plain, images)
    expected, _ = jax.jit(plain.apply)(variables, images)
    idle, _ = jax.jit(plain.clone(reduction="tome:r=0").apply)(variables, images)
    np.testing.assert_array_equal(idle, expected)

    apply = jax.jit(plain.clone(reduction="tome:r=3").apply)
    logits, aux = apply(variables, images)
    for entry in aux["reduction"]:
        np.testing.assert_array_equal(entry["map"][:, :3], [[0, 1, 2]] * 2)
        np.testing.assert_array_equal(entry["sizes"][:, :3], 1)
        np.testing.assert_array_equal(entry["sizes"].sum(axis=1), 3 + 16)
    assert aux["tokens"].shape == (2, 3 + 16 - 2 * 3, 16)
    block = variables["params"]["encoder"]["blocks_1"]
    norm = block["attn"]["q_norm"]
    for part, name in ((block, "ls1"), (block, "ls2"), (norm, "scale")):
        before, part[name] = part[name], 2 * part[name]
        assert np.abs(apply(variables, images)[0] - logits).max() > 1e-4, name
        part[name] = before
