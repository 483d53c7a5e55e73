"""DeMo against the recorded PyTorch original, in inference and in training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import convert
from tokenjax.models.demo import demo_settings
from tokenjax.training.tasks.reid_losses import reid_loss

NAMES = ("rgb", "nir", "tir")
MISSING = {"miss_r_": ("rgb",), "miss_nt_": ("nir", "tir")}
EVALUATED = ("demo_baseline_eval", "demo_hdm_atm_eval", "demo_sdtps_eval")
TRAINED = (
    "demo_baseline_train",
    "demo_hdm_atm_train",
    "demo_sdtps_train",
    "demo_sdtps_gumbel_train",
)
PATTERNS = {"pattern_1": "direct", "pattern_2": "fused", "pattern_3": "concat"}
# The scores and features of the original, by its name: (what, ours).
TRAIN_OUTPUTS = {
    "sdtps_score": ("scores", "fused"),
    "sdtps_feat": ("features", "fused"),
    "moe_score": ("scores", "fused"),
    "moe_feat": ("features", "fused"),
    "ori_score": ("scores", "direct"),
    "ori": ("features", "direct"),
    **{f"{name}_score": ("scores", name) for name in NAMES},
    **{f"{name}_feat": ("globals", name) for name in NAMES},
}


@functools.cache
def recorded(case):
    names = ("cfg_model", "image", "num_classes", "camera_num", "backbone", "feat_dim")
    arguments = {key: case.meta["constructor_args"][key] for key in names}
    model = demo_settings.from_settings(**arguments, fusion_dropout=0.0)
    variables = convert.from_torch(model, case.group("state"))
    images = {m: jnp.asarray(case[f"input/{m}"].transpose(0, 2, 3, 1)) for m in NAMES}
    return model, variables, images, jnp.asarray(case["input/camera"])


@pytest.fixture(scope="module")
def load(golden):
    cases = {}

    def read(name):
        if name not in cases:
            cases[name] = golden(f"demo/{name}")
        return cases[name], *recorded(cases[name])

    return read


@functools.cache
def inferred(case):
    """Gradients of the images, and all outputs, by one program."""
    model, variables, images, cameras = recorded(case)

    def loss(images):
        outputs = model.apply(variables, images, cameras)
        return jnp.sum(outputs["features"]["concat"] * case["input/cotangent"]), outputs

    return jax.jit(jax.grad(loss, has_aux=True))(images)


@pytest.mark.parametrize("name", EVALUATED)
def test_features_of_every_pattern_and_of_missing_modalities(load, assert_close, name):
    case, model, *inputs = load(name)
    found = {"": inferred(case)[1]}
    for prefix, missing in MISSING.items():
        apply = functools.partial(model.apply, missing=missing)
        found[prefix] = jax.jit(apply)(*inputs)
    for prefix, outputs in found.items():
        for pattern, feature in PATTERNS.items():
            expected = case[f"output/{prefix}{pattern}"]
            assert_close(outputs["features"][feature], expected, 1e-5, prefix + pattern)
    if model.fusion == "sdtps":
        mask = found[""]["aux"]["mask"]
        for modality in NAMES:
            expected = case[f"output/mask_{modality}"]
            np.testing.assert_array_equal(mask[modality], expected)


@pytest.mark.parametrize("name", EVALUATED)
def test_image_gradients_in_inference(load, assert_close, name):
    case, *_ = load(name)
    gradients, _ = inferred(case)
    for modality in NAMES:
        expected = case[f"grad_input/{modality}"].transpose(0, 2, 3, 1)
        assert_close(gradients[modality], expected, 1e-4, modality)


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_step(load, assert_close, name):
    """Scores, features, losses, all gradients and the running statistics."""
    case, model, variables, images, cameras = load(name)
    settings = case.meta["constructor_args"]["cfg_model"]
    uniforms = {
        m: case[f"input/uniform_{m}"]
        for m in NAMES
        if f"input/uniform_{m}" in case.arrays
    }
    state = {"batch_stats": variables["batch_stats"]}

    def loss(params, images):
        outputs, after = model.apply(
            {"params": params, **state},
            images,
            cameras,
            train=True,
            uniforms=uniforms or None,
            mutable=["batch_stats"],
        )
        pairs = list(model.pairs(outputs).values())
        weights = settings["ID_LOSS_WEIGHT"], settings["TRIPLET_LOSS_WEIGHT"]
        total, parts = reid_loss(pairs, case["input/labels"], *weights)
        return total, (outputs, after, parts)

    step = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (total, (outputs, after, parts)), gradients = step(variables["params"], images)
    assert_close(total, case["output/loss"], 1e-5, "loss")
    assert_close(parts, case["output/pair_losses"], 1e-5, "pair losses")
    for key, (what, ours) in TRAIN_OUTPUTS.items():
        if f"output/{key}" in case.arrays:
            assert_close(outputs[what][ours], case[f"output/{key}"], 1e-5, key)
    for modality in NAMES:
        expected = case[f"grad_input/{modality}"].transpose(0, 2, 3, 1)
        assert_close(gradients[1][modality], expected, 1e-4, modality)
    check_gradients(case, convert.to_torch(model, gradients[0]), assert_close)
    state_dict = convert.to_torch(model, {**variables, **after})
    for key, expected in case.group("state_after").items():
        if not key.endswith("num_batches_tracked"):
            assert_close(state_dict[key], expected, 1e-5, key)


def check_gradients(case, found, assert_close):
    """Those that vanish in exact arithmetic are held to rounding's size alone."""
    expected = case.group("grad")
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    zero = case.meta.get("gradients_zero_in_exact_arithmetic", [])
    for key, gradient in expected.items():
        if f"grad/{key}" in zero:
            assert np.abs(found[key]).max() < 1e-4 * largest, key
            continue
        if key.endswith("in_proj_bias"):  # the keys' third cancels in the softmax
            third = len(gradient) // 3
            keep = np.r_[:third, 2 * third : 3 * third]
            found[key], gradient = found[key][keep], gradient[keep]
        assert_close(found[key], gradient, 1e-4, key)
    for key in case.meta["no_gradient"]:
        assert not found[key].any(), key


@pytest.mark.parametrize("name", TRAINED)
def test_conversion_is_exact_both_ways(load, name):
    case, model, variables, _, _ = load(name)
    back, state = convert.to_torch(model, variables), case.group("state")
    assert set(back) == set(state)
    for key, expected in state.items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(back[key], expected, err_msg=key)
