"""The CIFAR-ViT family against the recorded PyTorch originals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models

OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
RECORDED = {"predictor": "linear", "pruning": "inference"}
CASES = {
    "vit": ("vit", {}),
    "lightweight_vit": ("lightweight_vit", {}),
    "dynamic_vit_full": ("dynamic_vit", {"predictor": "linear", "pruning": "none"}),
    "dynamic_vit_pruned": ("dynamic_vit", RECORDED),
    "dynamic_vit_pruned_default_rates": ("dynamic_vit", RECORDED),
}
PRUNED = [name for name in CASES if "pruned" in name]


@pytest.fixture(scope="module")
def recorded(golden):
    """name -> (case, model, variables, images)."""

    @functools.cache
    def load(name):
        case, (model_name, more) = golden(f"cifar_vit/{name}"), CASES[name]
        arguments = case.meta["constructor_args"]["model"]
        model = models.create(model_name, **arguments, **more)
        variables = convert.from_torch(model, case.group("state"))
        images = jnp.asarray(case["input/images"].transpose(0, 2, 3, 1))
        return case, model, variables, images

    return load


@pytest.fixture(scope="module")
def computed(recorded):
    """name -> gradients of (variables, images), and the outputs, by one program."""

    @functools.cache
    def compute(name):
        case, model, variables, images = recorded(name)

        def loss(variables, images):
            logits, aux = model.apply(variables, images)
            return jnp.sum(logits * case["input/cotangent"]), (logits, aux)

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables, images)

    return compute


@pytest.mark.parametrize("name", CASES)
def test_outputs(recorded, computed, assert_close, name):
    case, *_ = recorded(name)
    _, (logits, aux) = computed(name)
    assert_close(logits, case["output/logits"], OUTPUT_TOLERANCE, "logits")
    if "output/attention_maps" in case.arrays:
        maps = np.stack(aux["attention"])
        expected = case["output/attention_maps"]
        assert_close(maps, expected, OUTPUT_TOLERANCE, "attention maps")
        to_patches = expected[:, :, :, 0, 1:].mean(2)
        assert_close(aux["class_attention"], to_patches, 1e-5, "class attention")


@pytest.mark.parametrize("name", CASES)
def test_gradients(recorded, computed, assert_close, name):
    case, model, *_ = recorded(name)
    (gradients, image_gradient), _ = computed(name)
    expected = case["grad_input/images"].transpose(0, 2, 3, 1)
    assert_close(image_gradient, expected, GRADIENT_TOLERANCE, "images")
    by_key, expected = convert.to_torch(model, gradients), case.group("grad")
    without = set(case.meta["no_gradient"])
    assert set(expected) | without == set(by_key)
    for key, gradient in expected.items():
        assert_close(by_key[key], gradient, GRADIENT_TOLERANCE, key)
    for key in without:  # the recorded predictors learn nothing
        assert not by_key[key].any(), key


@pytest.mark.parametrize("execution", ["gathered", "masked"])
@pytest.mark.parametrize("name", PRUNED)
def test_the_same_tokens_are_kept(recorded, computed, assert_close, name, execution):
    case, model, variables, images = recorded(name)
    assert model.execution == "gathered"
    _, (logits, aux) = computed(name)
    if execution == "masked":
        masked = model.clone(execution=execution)
        logits, aux = jax.jit(masked.apply)(variables, images)
    assert_close(logits, case["output/logits"], OUTPUT_TOLERANCE, "logits")
    before = np.ones_like(aux["keep_masks"][0])
    for step, count in enumerate(case["output/token_counts"]):
        mask = np.asarray(aux["keep_masks"][step])
        rows = zip(mask, before, strict=True)
        kept = [np.flatnonzero(now[was > 0]) for now, was in rows]
        np.testing.assert_array_equal(kept, case[f"output/kept_{step}"])
        assert mask.sum(1).tolist() == [count, count]
        if execution == "gathered":
            expected = case[f"output/importance_{step}"]
            assert_close(aux["keep_scores"][step], expected, 1e-5, f"importance {step}")
        before = mask


@pytest.mark.parametrize("name", CASES)
def test_conversion_is_exact_both_ways(recorded, name):
    case, model, variables, _ = recorded(name)
    back, state = convert.to_torch(model, variables), case.group("state")
    assert set(back) == set(state)
    for key, expected in state.items():
        np.testing.assert_array_equal(back[key], expected, err_msg=key)


def test_the_learned_predictors_convert_too():
    model = models.create(
        "dynamic_vit", img_size=16, embed_dim=16, depth=4, num_heads=2
    )
    variables = drawn_variables(model, *model.example_inputs(1))
    state = convert.to_torch(model, variables)
    assert state["score_predictor.2.out_conv.4.weight"].shape == (2, 4)
    again = convert.from_torch(model, state)
    jax.tree.map(np.testing.assert_array_equal, variables, again)


def test_the_true_sizes():
    recorded_dynamic = {"embed_dim": 384, "num_heads": 6, "predictor": "linear"}
    for expected, name, arguments in (
        (5_362_762, "cifar_vit_tiny", {}),
        (21_342_346, "cifar_vit_small", {}),
        (18_979_338, "cifar_vit_base", {}),
        (10_697_872, "dynamic_vit", recorded_dynamic),
        (8_923_786, "lightweight_vit", {}),
    ):
        model = models.create(name, **arguments)
        shapes = jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs(1))
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected, name
