"""SDTPS and the whole DeMo against what was recorded of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict

from tokenjax import convert
from tokenjax.device_check.parity.held import GRADIENT, OUTPUT, Held
from tokenjax.device_check.parity.recorded import RecordedCase
from tokenjax.models.demo import demo_settings
from tokenjax.models.demo.sdtps import MODALITIES, MultiModalSDTPS
from tokenjax.training.tasks.reid_losses import reid_loss

Values = dict[str, jax.Array]  # by modality
SETTINGS = ("cfg_model", "image", "num_classes", "camera_num", "backbone", "feat_dim")


def sdtps(case: RecordedCase, held: Held) -> None:
    """Hold MultiModalSDTPS, in the mode of the case: choices, outputs, gradients."""
    settings = case.meta["constructor_args"]
    arguments = dict(settings["module"])
    if settings.get("attention_no_grad"):
        arguments["score_gradient"] = "none"
    model = MultiModalSDTPS(**arguments)
    variables = convert.from_torch(model, case.group("state"))
    tokens, globals_ = _inputs(case, "tokens"), _inputs(case, "global")
    cotangents = _inputs(case, "cotangent")
    train = case.meta["mode"] == "train"
    uniforms = _inputs(case, "uniform") if train else None

    def loss(
        variables: VariableDict, tokens: Values, globals_: Values
    ) -> tuple[jax.Array, tuple]:
        outputs = model.apply(variables, tokens, globals_, train, uniforms)
        total = sum((outputs[0][m] * cotangents[m]).sum() for m in MODALITIES)
        return jnp.asarray(total), outputs

    gradient = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))
    found, (enhanced, aux) = gradient(variables, tokens, globals_)
    without = case.meta["no_gradient"]
    for m in MODALITIES:
        held.close(enhanced[m], case[f"output/enhanced_{m}"], OUTPUT, f"enhanced {m}")
        held.close(aux["scores"][m], case[f"output/scores_{m}"], OUTPUT, f"scores {m}")
        for key in ("mask", "keep_indices"):
            held.equal(aux[key][m], case[f"output/{key}_{m}"], f"{key} {m}")
        for key, actual in {"tokens": found[1][m], "global": found[2][m]}.items():
            if f"input/{key}_{m}" not in without:
                expected = case[f"grad_input/{key}_{m}"]
                held.close(actual, expected, GRADIENT, f"{key} {m}")
    by_key = convert.to_torch(model, found[0])
    held.gradients(by_key, case.group("grad"), vanishing=_vanishing(case))


def demo_training(case: RecordedCase, held: Held) -> None:
    """Hold a training step of DeMo: losses, features, gradients, statistics."""
    given = case.meta["constructor_args"]
    arguments = {key: given[key] for key in SETTINGS}
    model = demo_settings.from_settings(**arguments, fusion_dropout=0.0)
    variables = convert.from_torch(model, case.group("state"))
    images = {m: case[f"input/{m}"].transpose(0, 2, 3, 1) for m in MODALITIES}
    uniforms = _inputs(case, "uniform") or None
    state = {"batch_stats": variables["batch_stats"]}
    weights = [given["cfg_model"][f"{name}_LOSS_WEIGHT"] for name in ("ID", "TRIPLET")]

    def loss(params: VariableDict, images: Values) -> tuple[jax.Array, tuple]:
        outputs, after = model.apply(
            {"params": params, **state},
            images,
            case["input/camera"],
            train=True,
            uniforms=uniforms,
            mutable=["batch_stats"],
        )
        pairs = list(model.pairs(outputs).values())
        total, parts = reid_loss(pairs, jnp.asarray(case["input/labels"]), *weights)
        return total, (after, parts)

    step = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (total, (after, parts)), found = step(variables["params"], images)
    held.close(total, case["output/loss"], OUTPUT, "loss")
    held.close(parts, case["output/pair_losses"], OUTPUT, "pair losses")
    for m in MODALITIES:
        expected = case[f"grad_input/{m}"].transpose(0, 2, 3, 1)
        held.close(found[1][m], expected, GRADIENT, m)
    _hold_gradients(case, convert.to_torch(model, found[0]), held)
    by_key = convert.to_torch(model, {**variables, **after})
    for key, expected in case.group("state_after").items():
        if not key.endswith("num_batches_tracked"):
            held.close(by_key[key], expected, OUTPUT, key)


def demo_inference(case: RecordedCase, held: Held) -> None:
    """Hold what DeMo computes of images in inference, and the images' gradient."""
    given = case.meta["constructor_args"]
    arguments = {key: given[key] for key in SETTINGS}
    model = demo_settings.from_settings(**arguments, fusion_dropout=0.0)
    variables = convert.from_torch(model, case.group("state"))
    images = {m: case[f"input/{m}"].transpose(0, 2, 3, 1) for m in MODALITIES}

    def loss(images: Values) -> tuple[jax.Array, Values]:
        outputs: Any = model.apply(variables, images, case["input/camera"])
        features = outputs["features"]
        return jnp.sum(features["concat"] * case["input/cotangent"]), features

    found, features = jax.jit(jax.grad(loss, has_aux=True))(images)
    held.close(features["concat"], case["output/pattern_3"], OUTPUT, "features")
    for m in MODALITIES:
        expected = case[f"grad_input/{m}"].transpose(0, 2, 3, 1)
        held.close(found[m], expected, GRADIENT, m)


def _inputs(case: RecordedCase, what: str) -> Values:
    return {
        m: jnp.asarray(case[f"input/{what}_{m}"])
        for m in MODALITIES
        if f"input/{what}_{m}" in case.arrays
    }


def _vanishing(case: RecordedCase) -> set[str]:
    """Return the keys of gradients that are zero in exact arithmetic."""
    names = case.meta.get("gradients_zero_in_exact_arithmetic") or []
    return {name.removeprefix("grad/") for name in names}


def _hold_gradients(
    case: RecordedCase, found: dict[str, np.ndarray], held: Held
) -> None:
    """Hold gradients, without the keys' third of a bias: it cancels in the softmax."""
    found, expected = dict(found), dict(case.group("grad"))
    for key in expected:
        if key.endswith("in_proj_bias"):
            third = len(expected[key]) // 3
            kept = np.r_[:third, 2 * third : 3 * third]
            found[key], expected[key] = found[key][kept], expected[key][kept]
    without = case.meta["no_gradient"]
    held.gradients(found, expected, without, _vanishing(case))
