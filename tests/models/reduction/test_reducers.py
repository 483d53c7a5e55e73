"""What every method of reduction keeps to, in every encoder that takes one.

`make test` holds every method in one encoder, and a few in the others.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.accelerators import hold_to_accelerators
from helpers.drawn_variables import drawn_variables
from helpers.reduced_models import compose

from tokenjax import models
from tokenjax.arguments import describe
from tokenjax.models import reduction
from tokenjax.models.reduction.methods import METHODS

# Of encoders with two blocks and 16 patches: something goes in both.
WRITTEN = {
    "ats": "keep_rate=(9,5),reduction_loc=(0,1)",
    "diffrate": "prune_kept=(15,11),merge_kept=(13,9)",
    "dynamicvit": "pruning_loc=(1,),token_ratio=(0.6,)",
    "evit": "keep_rate=(0.7,0.6)",
    "pitome": "ratio=0.8",
    "tofu": "ratio=0.8",
    "tome": "r=3",
    "topk": "keep_rate=(0.7,0.6)",
}
NOTHING = {  # where a method can be asked for it
    "dynamicvit": "token_ratio=(),pruning_loc=()",
    "evit": "keep_rate=1.0",
    "pitome": "ratio=1",
    "tofu": "ratio=1",
    "tome": "r=0",
    "topk": "keep_rate=(1,1)",
}
ALWAYS = {"ats", "diffrate"}  # the others: these sample, and order, at any setting
WEIGHED = {"diffrate"}  # its sizes are weighed by similarity
SMALL = {"num_heads": 2, "depth": 2, "img_size": 16, "patch_size": 4, "embed_dim": 16}
ENCODERS = {
    "vit_base_patch16": SMALL | {"num_classes": 3, "mlp_ratio": 2.0},
    "vit": SMALL | {"num_classes": 3, "mlp_ratio": 2.0},
    "dynamic_vit": SMALL | {"num_classes": 3, "mlp_ratio": 2.0, "pruning": "none"},
    "camera_vit": SMALL | {"stride_size": 4, "mlp_ratio": 2.0},
    "clip_vit": {
        "h_resolution": 4,
        "w_resolution": 4,
        "patch_size": 4,
        "stride_size": 4,
        "width": 16,
        "layers": 2,
        "heads": 2,
        "output_dim": 8,
    },
}
FIRST = "vit_base_patch16"
CHEAP = {(name, FIRST) for name in WRITTEN} | {("tome", name) for name in ENCODERS}
NAMES = [name for name in reduction.names() if name in WRITTEN]


def pairs(names):
    """Parameters (name, encoder), of which those that are not `CHEAP` are long."""
    return pytest.mark.parametrize(
        ("name", "encoder"),
        [
            pytest.param(
                name,
                encoder,
                marks=() if (name, encoder) in CHEAP else pytest.mark.long,
            )
            for name in names
            for encoder in ENCODERS
        ],
    )


def own_names():
    """Names of this library's own methods; other tests may have registered some."""
    return {
        name
        for name, method in METHODS.items()
        if method.__module__.startswith("tokenjax.")
    }


def test_every_method_is_held_to_the_contract():
    assert own_names() <= set(WRITTEN)
    assert own_names() <= set(NOTHING) | ALWAYS


def build(name, encoder, written=WRITTEN, **more):
    """Make a small encoder with a method; name None: with none."""
    method = None if name is None else f"{name}:{written[name]}"
    return models.create(encoder, **ENCODERS[encoder], reduction=method, **more)


class Computed(NamedTuple):
    """Of one program, for three images and for two of them with another third."""

    output: jax.Array  # logits or tokens
    aux: Any
    gradients: Any
    others: Any  # (output, aux) beside another image
    programs: int


@functools.cache
def variables_and_images(name, encoder):
    model = build(name, encoder)
    shape = model.example_inputs(3)[0].shape
    images = jax.random.normal(jax.random.key(1), shape)
    return drawn_variables(model, *model.example_inputs(1)), images


def differentiate(model, train=False):
    """Return a program: variables, images, key -> gradients, (output, aux)."""

    def loss(variables, images, key):
        rngs = {"dropout": key, "gumbel": key} if train else {}
        output, aux = model.apply(variables, images, train=train, rngs=rngs)
        extra = sum(aux["losses"].values(), jnp.zeros(()))
        return jnp.square(output).sum() + extra, (output, aux)

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))


@functools.cache
def program_of(name, encoder):
    return differentiate(build(name, encoder))


@functools.cache
def computed(name, encoder):
    variables, images = variables_and_images(name, encoder)
    program = program_of(name, encoder)
    key = jax.random.key(2)
    gradients, (output, aux) = program(variables, images, key)
    other = images.at[2].set(images[2] * 0.5 - 1.0)
    _, others = program(variables, other, key)
    return Computed(output, aux, gradients, others, program._cache_size())


def last_count(result):
    """How many tokens the encoder gives, where it gives them."""
    if "tokens" in result.aux:
        return result.aux["tokens"].shape[1]
    return result.output.shape[1]


@pairs(NAMES)
def test_one_program_with_finite_gradients(name, encoder):
    result = computed(name, encoder)
    assert result.programs == 1
    assert result.output.dtype == jnp.float32
    assert np.isfinite(result.output).all()
    for path, leaf in jax.tree.leaves_with_path(result.gradients):
        assert np.isfinite(leaf).all(), path
    assert np.abs(result.gradients[1]).max() > 0


@pairs(NAMES)
def test_accelerators_have_programs_of_it(name, encoder):
    variables, images = variables_and_images(name, encoder)
    program = program_of(name, encoder)
    hold_to_accelerators(program, variables, images, jax.random.key(2))


@pairs(NAMES)
def test_maps_compose_to_what_is_left(name, encoder):
    result = computed(name, encoder)
    entries = result.aux["reduction"]
    assert len(entries) == 2
    assert any(entry is not None for entry in entries)
    whole, count = None, 17
    for entry in entries:
        if entry is None:
            continue
        step, sizes = np.asarray(entry["map"]), np.asarray(entry["sizes"])
        assert step.dtype == np.int32
        assert step.shape == (3, count)
        count = sizes.shape[1]
        assert (step[:, 0] == 0).all(), "the class token leads"
        assert -1 <= step.min() <= step.max() < count
        if entry["scores"] is not None:
            assert entry["scores"].shape == (3, step.shape[1] - 1)
        whole = compose(whole, step)
        held = np.stack([np.bincount(row[row >= 0], minlength=count) for row in whole])
        if name not in WEIGHED:
            np.testing.assert_array_equal(held, sizes)
        assert ((held > 0) == (sizes > 0)).all(), "every token stands for some"
        assert (held[:, 0] == 1).all(), "and the class token for itself"
    assert count == last_count(result)
    assert count < 17


@pairs(NAMES)
def test_an_image_is_none_of_anothers_business(name, encoder):
    result = computed(name, encoder)
    output, aux = result.others
    np.testing.assert_array_equal(output[:2], result.output[:2])
    assert not np.array_equal(output[2], result.output[2])
    found = jax.tree.leaves(aux["reduction"])
    for array, same in zip(
        found, jax.tree.leaves(result.aux["reduction"]), strict=True
    ):
        if array.ndim:
            np.testing.assert_array_equal(array[:2], same[:2])


def lower(model, variables, images):
    """Return the program of an inference as text, without the names of its parts."""
    return jax.jit(model.apply).lower(variables, images).as_text()


@pairs([name for name in NAMES if name in NOTHING])
def test_where_nothing_is_to_do_the_program_is_the_plain_one(name, encoder):
    """And so are its results, to the bit."""
    variables, images = variables_and_images(None, encoder)
    idle = build(name, encoder, NOTHING)
    assert idle.reduction is not None
    plain = lower(build(None, encoder), variables, images)
    assert lower(idle, variables, images) == plain
    own, _ = variables_and_images(name, encoder)  # a method may have parameters
    assert lower(build(name, encoder), own, images) != plain


@pairs(NAMES)
def test_shapes_in_half_precision_and_in_training(name, encoder):
    variables, images = variables_and_images(name, encoder)
    expected = jax.eval_shape(build(name, encoder).apply, variables, images)
    half = build(name, encoder, dtype="bfloat16")
    assert jax.eval_shape(half.apply, variables, images) == expected
    key = jax.random.key(0)
    train = functools.partial(build(name, encoder).apply, train=True)
    rngs = {"dropout": key, "gumbel": key}
    output, aux = jax.eval_shape(train, variables, images, rngs=rngs)
    assert output.dtype == jnp.float32
    if "tokens" in expected[1]:  # the output is logits
        assert output == expected[0]
    assert set(aux) == set(expected[1])
    assert set(aux["losses"]) == set(expected[1]["losses"])


@pytest.mark.long
@pairs(NAMES)
def test_half_precision_computes_nearly_the_same(name, encoder):
    variables, images = variables_and_images(name, encoder)
    half = build(name, encoder, dtype="bfloat16")
    gradients, (output, _) = differentiate(half)(variables, images, jax.random.key(2))
    assert output.dtype == jnp.float32
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    # a choice between near equals may fall otherwise, so no element is held alone
    expected = computed(name, encoder).output
    error = np.linalg.norm(output - expected) / np.linalg.norm(expected)
    assert error < 0.3


@pytest.mark.long
@pairs(NAMES)
def test_training_has_finite_gradients_with_remat_and_without(name, encoder):
    variables, images = variables_and_images(name, encoder)
    results = []
    for remat in (False, True):
        program = differentiate(build(name, encoder, remat=remat), train=True)
        results.append(program(variables, images, jax.random.key(2)))
    plain, again = (jax.tree.leaves_with_path(each) for each in results)
    for (path, leaf), (_, same) in zip(plain, again, strict=True):
        assert np.isfinite(leaf).all(), path
        np.testing.assert_allclose(leaf, same, rtol=1e-4, atol=1e-5, err_msg=str(path))


MASKED = [name for name in NAMES if "execution" in describe(METHODS[name])]


@pytest.mark.parametrize("name", MASKED)
def test_masked_agrees_with_gathered(name):
    variables, images = variables_and_images(name, FIRST)
    gathered = computed(name, FIRST)
    written = {name: f"{WRITTEN[name]},execution=masked"}
    program = differentiate(build(name, FIRST, written))
    gradients, (output, aux) = program(variables, images, jax.random.key(2))
    np.testing.assert_allclose(output, gathered.output, rtol=1e-4, atol=1e-5)
    for leaf, expected in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(gathered.gradients), strict=True
    ):
        np.testing.assert_allclose(leaf, expected, rtol=1e-3, atol=1e-4)
    last, masked = gathered.aux["reduction"][-1], aux["reduction"][-1]
    assert masked["sizes"].shape[1] > last["sizes"].shape[1]
    sizes = [np.sort(each["sizes"], axis=1)[:, ::-1] for each in (last, masked)]
    np.testing.assert_array_equal(sizes[1][:, : sizes[0].shape[1]], sizes[0])
