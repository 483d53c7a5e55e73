"""CLIP's image encoder against the recorded one, and what it keeps to."""

import helpers.backbone_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import convert, models

SMALL = {
    "h_resolution": 2,
    "w_resolution": 3,
    "patch_size": 4,
    "stride_size": (4, 2),
    "width": 16,
    "layers": 2,
    "heads": 2,
    "output_dim": 8,
}
CASES = {"clip_vit": ["images", "cv_embed"], "clip_vit_overlap": ["images"]}


@pytest.fixture(scope="module")
def recorded(golden):
    """name -> (case, model, variables, inputs)."""

    def load(name):
        case = golden(f"demo/{name}")
        arguments = case.meta["constructor_args"]["model"]
        model = models.create("clip_vit", **arguments, return_intermediate=True)
        variables = convert.from_torch(model, case.group("state"))
        inputs = [jnp.asarray(case["input/images"].transpose(0, 2, 3, 1))]
        if "input/cv_embed" in case.arrays:
            inputs.append(jnp.asarray(case["input/cv_embed"]))
        return case, model, variables, inputs

    return load


def small(**more):
    return models.create("clip_vit", **SMALL | more)


@pytest.mark.parametrize("name", CASES)
def test_outputs(recorded, assert_close, name):
    case, model, variables, inputs = recorded(name)
    tokens, aux = jax.jit(model.apply)(variables, *inputs)
    for key, actual in {
        "tokens": tokens,
        "ln_pre": aux["ln_pre"],
        "ln_post": aux["ln_post"],
        **{f"block_{i}": block for i, block in enumerate(aux["blocks"])},
    }.items():
        assert_close(actual, case[f"output/{key}"], checks.OUTPUT_TOLERANCE, key)


@pytest.mark.parametrize("name", CASES)
def test_gradients(recorded, assert_close, name):
    case, model, variables, inputs = recorded(name)
    checks.parity_of_gradients(
        case, model, variables, inputs, CASES[name], assert_close
    )


@pytest.mark.parametrize("name", CASES)
def test_conversion_is_exact_both_ways(recorded, name):
    case, model, _, _ = recorded(name)
    checks.conversion_is_exact(case, model)


def test_the_camera_changes_the_class_token_and_through_it_the_rest():
    model = small(return_intermediate=True)
    variables, images = checks.start(model)
    camera = jax.random.normal(jax.random.key(3), (2, 1, 16))
    apply = checks.apply(model)
    untold, plain = apply(variables, images)
    tokens, seen = apply(variables, images, camera)
    changed = np.abs(seen["ln_pre"] - plain["ln_pre"]).max(-1) > 0
    np.testing.assert_array_equal(changed, [[True] + [False] * 6] * 2)
    assert (np.abs(tokens - untold).max(-1) > 0).all()
    zero, _ = apply(variables, images, jnp.zeros((2, 1, 16)))
    np.testing.assert_array_equal(zero, untold)


def test_finite_gradients_reach_all_that_matters():
    checks.finite_gradients_reach_all(small(), [jnp.ones((2, 1, 16))])


def test_bfloat16_computes_about_the_same():
    checks.bfloat16_is_close(small())


def test_remat_changes_nothing():
    checks.remat_changes_nothing(small(), [jnp.ones((2, 1, 16))])


def test_one_compilation_per_shape():
    checks.compiles_once_per_shape(small(), lambda batch: [jnp.ones((batch, 1, 16))])


def test_intermediates_are_asked_for():
    checks.intermediates_are_asked_for(small(), ["ln_pre", "blocks", "ln_post"])


def test_the_real_size():
    model = models.create("clip_vit")
    assert model.grid == (16, 8)
    assert model.example_inputs(2)[0].shape == (2, 256, 128, 3)
    assert checks.number_of_parameters(model) == 86_140_416


def test_what_does_not_fill_a_patch_is_cut_off():
    model = small(stride_size=4)
    variables, images = checks.start(model)
    larger = jnp.pad(images, ((0, 0), (0, 3), (0, 2), (0, 0)), constant_values=9.0)
    cut, _ = checks.apply(model)(variables, larger)
    expected, _ = checks.apply(model)(variables, images)
    np.testing.assert_allclose(cut, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"heads": 3}, "width must divide by heads"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"heads": 0}, "heads must be at least 1"),
        ({"stride_size": 0}, "stride_size must be at least 1"),
        ({"stride_size": (4, 4, 4)}, r"got \(4, 4, 4\)"),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)


def test_inputs_that_do_not_fit():
    model = small()
    variables, images = checks.start(model)
    assert images.shape == (2, 8, 8, 3)
    sentence = "8 x 4 have 2 x 1 patches of 4 at stride 4, 2.* 2 x 3: 8 x 8 would fit"
    with pytest.raises(ValueError, match=sentence):
        model.apply(variables, images[:, :, :4])
    with pytest.raises(
        ValueError, match=r"\(batch, height, width, 3\).*\(2, 8, 8, 1\)"
    ):
        model.apply(variables, images[..., :1])
    with pytest.raises(ValueError, match=r"here \(2, 1, 16\); got \(1, 1, 16\)"):
        model.apply(variables, images, jnp.zeros((1, 1, 16)))
