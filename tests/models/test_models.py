"""What every classifier of the registry keeps to."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.accelerators import hold_to_accelerators
from helpers.small_models import (
    ELSEWHERE,
    LONG,
    NAMES,
    SMALL,
    UNUSED,
    VARIANTS,
    small,
    takes,
)

from tokenjax import models
from tokenjax.training.dependence import differentiate


def held(variant):
    """Return the model, with its attention if it has any: one model for all tests."""
    attention = takes(VARIANTS[variant][0], "return_attention")
    return small(variant, **{"return_attention": True} if attention else {})


def each(left):
    """Parametrise by all variants; those `left` are for `make test-all`."""
    named = [
        pytest.param(variant, marks=[pytest.mark.long] if variant in left else [])
        for variant in VARIANTS
    ]
    return pytest.mark.parametrize("variant", named)


@functools.cache
def start(model, batch=2):
    """Return (variables, images); what changes no parameter changes nothing here."""
    shape = model.example_inputs(batch)[0].shape
    images = jax.random.normal(jax.random.key(1), shape)
    options = {"return_attention": False, "remat": False}
    plain = model.clone(**{k: v for k, v in options.items() if hasattr(model, k)})
    if plain != model:
        return start(plain, batch)
    return jax.jit(model.init)(jax.random.key(0), images), images


def rngs():
    return {"dropout": jax.random.key(2), "gumbel": jax.random.key(3)}


def train(model, variables, images):
    """As a training step applies it: running averages are written, and left here."""
    outputs, _ = model.apply(
        variables, images, train=True, rngs=rngs(), mutable=["batch_stats"]
    )
    return outputs


def test_every_model_is_tested():
    assert set(models.names()) == {*SMALL, *ELSEWHERE}
    for file in ELSEWHERE.values():
        assert list(pathlib.Path(__file__).parent.rglob(file)), file


@functools.cache
def program(model):
    """(inference as one program, the shapes it was traced for so far)."""
    traces = []

    def apply(variables, images):
        traces.append(images.shape)
        return model.apply(variables, images)

    return jax.jit(apply), traces


@functools.cache
def evaluated(model):
    """(logits, aux) of the model's own first images."""
    return program(model)[0](*start(model))


@functools.cache
def slope(model):
    """The slope of a training step's loss as one program, of the parameters."""
    variables, images = start(model)

    def loss(params):
        logits, aux = train(model, {**variables, "params": params}, images)
        return jnp.sum(logits**2), (logits, aux)

    return jax.jit(functools.partial(differentiate, loss))


@functools.cache
def trained(model):
    """The slope of a training step's loss, and what the model returned."""
    (_, found), found_slope = slope(model)(start(model)[0]["params"])
    return found_slope, found


@each(LONG)
def test_train_and_eval(variant):
    model = held(variant)
    logits, aux = evaluated(model)
    _, (train_logits, train_aux) = trained(model)
    assert logits.shape == train_logits.shape == (2, 7)
    assert logits.dtype == jnp.float32
    assert jax.tree.structure(aux) == jax.tree.structure(train_aux)
    assert isinstance(aux["losses"], dict)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((logits, aux)))


@each(LONG)
def test_finite_gradients_reach_all_that_matters(variant):
    found, _ = trained(held(variant))
    leaves = jax.tree.leaves_with_path(found.gradients)
    for (path, leaf), reached in zip(leaves, found.reached, strict=True):
        assert np.isfinite(leaf).all(), path
        unused = any(name in str(path) for name in UNUSED.get(variant, ()))
        assert reached is not unused, path
        assert bool(np.abs(leaf).max() > 0) is not unused, path


@each(LONG)
def test_accelerators_have_programs_of_it(variant):
    model = held(variant)
    variables, images = start(model)
    hold_to_accelerators(program(model)[0], variables, images)
    hold_to_accelerators(slope(model), variables["params"])


@each(set(VARIANTS) - set(NAMES))
def test_bfloat16_computes_about_the_same(variant):
    model, half = held(variant), small(variant, dtype="bfloat16")
    variables, images = start(model)
    same = jax.eval_shape(half.init, jax.random.key(0), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(same)} == {jnp.dtype("float32")}
    exact, _ = evaluated(model)
    apply = jax.jit(half.apply)
    coarse, _ = apply(variables, images)
    hold_to_accelerators(apply, variables, images)
    assert coarse.dtype == jnp.float32
    assert np.abs(coarse - exact).max() < 0.05 * np.abs(exact).max() + 0.05


@pytest.mark.parametrize("name", NAMES)
def test_one_compilation_per_shape_and_images_do_not_mix(name):
    model = held(name)
    variables, images = start(model)
    apply, traces = program(model)
    alone = [apply(variables, images[i : i + 1])[0] for i in range(2)]
    together, _ = apply(variables, images)
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)
    for batch in (1, 2, 1, 2, 2):
        apply(variables, images[:batch])
    assert len(traces) == 2


@pytest.mark.parametrize("name", [name for name in NAMES if takes(name, "remat")])
def test_remat_changes_nothing(name):
    model, remat = held(name), small(f"{name}_remat")
    variables, images = start(model)
    again, _ = jax.jit(remat.apply)(variables, images)
    np.testing.assert_allclose(evaluated(model)[0], again, atol=1e-6)


def test_patch_dropout_leaves_patches_out_in_training_alone():
    model = small("vit_patch_dropout", dropout=0.0, attn_dropout=0.0)
    variables, images = start(model)

    @functools.partial(jax.jit, static_argnums=0)
    def tokens(train, seed=0):
        rngs = {"dropout": jax.random.key(seed)}
        return model.apply(variables, images, train=train, rngs=rngs)[1]["tokens"]

    assert tokens(False).shape[1] == 17
    assert tokens(True).shape[1] == 9
    assert np.abs(tokens(True) - tokens(True, seed=1)).max() > 1e-3
    with pytest.raises(ValueError, match=r"patch_dropout must be within \[0, 1\)"):
        small("vit", patch_dropout=1.0)
    for pruning, left in (("learned", 17), ("none", 9)):
        model = small("dynamic_vit", patch_dropout=0.5, pruning=pruning)
        variables, images = start(model)
        shapes = jax.eval_shape(
            lambda v, x, m=model: m.apply(v, x, train=True, rngs=rngs()),
            variables,
            images,
        )
        assert shapes[1]["tokens"].shape[1] == left


def test_the_recorded_sizes():
    sizes = {
        32_525_926: {"img_size": 512, "embed_dim": 512, "depth": 10},
        72_340_838: {},
        5_912_932: {
            "embed_dim": 192,
            "depth": 12,
            "num_heads": 3,
            "num_classes": 1000,
        },
    }
    for expected, arguments in sizes.items():
        model = models.create("vdpa", **arguments)
        inputs = model.example_inputs(1)
        variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
        assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == expected


def test_bad_input():
    with pytest.raises(ValueError, match="unknown model 'vpda', did you mean 'vdpa'"):
        models.create("vpda")
    with pytest.raises(ValueError, match=r"did you mean 'depth'.*Valid: .*embed_dim"):
        models.create("vdpa", dpth=3)
    with pytest.raises(ValueError, match="embed_dim must divide by num_heads"):
        models.create("vdpa", embed_dim=30, num_heads=4)
    with pytest.raises(ValueError, match="stk must be one of"):
        models.create("vdpa", stk="hard")
    model = small("vdpa")
    variables, images = start(model)
    with pytest.raises(ValueError, match=r"\(batch, 16, 16, 3\).*got \(2, 16, 16, 1\)"):
        model.apply(variables, images[..., :1])
