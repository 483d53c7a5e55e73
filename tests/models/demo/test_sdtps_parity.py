"""SDTPS and its two parts against the recorded PyTorch originals."""

import helpers.backbone_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import convert
from tokenjax.models.demo.sdtps import (
    MODALITIES,
    MultiModalSDTPS,
    TokenAggregation,
    TokenSparse,
)

OUTPUT, GRADIENT = checks.OUTPUT_TOLERANCE, checks.GRADIENT_TOLERANCE
MULTIMODAL = (
    "multimodal",
    "multimodal_no_grad",
    "multimodal_gumbel",
    "multimodal_gumbel_no_grad",
)
SPARSE = ("token_sparse", "token_sparse_gumbel")
AGGREGATION = ("token_aggregation", "token_aggregation_masked")
ATTENTION = ("self_attention", "cross_attention_m2", "cross_attention_m3")
SELECTION = {  # output and cotangent of the original: field of ours
    "select_tokens": "tokens",
    "extra_token": "extra",
    "score_mask": "mask",
    "selected_mask": "selected_mask",
    "scores": "scores",
    "predicted": "predicted",
}


def build(case):
    settings = case.meta["constructor_args"]
    classes = {
        "multi": MultiModalSDTPS,
        "sparse": TokenSparse,
        "aggr": TokenAggregation,
    }
    detached = {"score_gradient": "none"} if settings.get("attention_no_grad") else {}
    model = classes[case.meta["kind"]](**settings["module"], **detached)
    return model, convert.from_torch(model, case.group("state"))


@pytest.fixture(scope="module")
def load(golden):
    """name -> (case, model, variables)."""
    cases = {}

    def read(name):
        if name not in cases:
            case = golden(f"sdtps/{name}")
            cases[name] = case, *build(case)
        return cases[name]

    return read


def check_gradients(case, model, found, assert_close):
    """By PyTorch key; those that vanish in exact arithmetic in their size alone."""
    found, expected = convert.to_torch(model, found), case.group("grad")
    zero = case.meta.get("gradients_zero_in_exact_arithmetic", [])
    assert set(found) == set(expected)
    for key, gradient in expected.items():
        if f"grad/{key}" in zero:
            sibling = np.abs(expected[key.replace("bias", "weight")]).max()
            assert np.abs(found[key]).max() < 1e-5 * sibling, key
        else:
            assert_close(found[key], gradient, GRADIENT, key)


@pytest.mark.parametrize("name", MULTIMODAL)
def test_multimodal(load, assert_close, name):
    case, model, variables = load(name)
    tokens, globals_, uniforms, cotangents = (
        {m: jnp.asarray(case[f"input/{what}_{m}"]) for m in MODALITIES}
        if f"input/{what}_rgb" in case.arrays
        else None
        for what in ("tokens", "global", "uniform", "cotangent")
    )
    assert (uniforms is not None) == model.use_gumbel == (case.meta["mode"] == "train")

    def loss(params, tokens, globals_):
        train = case.meta["mode"] == "train"
        outputs = model.apply(params, tokens, globals_, train, uniforms)
        total = sum((outputs[0][m] * cotangents[m]).sum() for m in MODALITIES)
        return total, outputs

    gradient = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))
    found, (enhanced, aux) = gradient(variables, tokens, globals_)
    for m in MODALITIES:
        for key, actual in {
            "enhanced": enhanced[m],
            "scores": aux["scores"][m],
            "attention": aux["similarities"][m],
        }.items():
            assert_close(actual, case[f"output/{key}_{m}"], OUTPUT, f"{key} {m}")
        for key in ("mask", "keep_indices"):
            np.testing.assert_array_equal(aux[key][m], case[f"output/{key}_{m}"])
        for key, actual in {"tokens": found[1][m], "global": found[2][m]}.items():
            if f"input/{key}_{m}" in case.meta["no_gradient"]:
                assert not actual.any(), (key, m)
            else:
                expected = case[f"grad_input/{key}_{m}"]
                assert_close(actual, expected, GRADIENT, f"{key} {m}")
    check_gradients(case, model, found[0], assert_close)


def test_the_factor_1e10_is_in_the_recorded_gradients(load):
    """So that the cases above do hold it."""
    quiet, loud = load("multimodal")[0], load("multimodal_gumbel")[0]
    for key in ("grad_input/tokens_rgb", "grad/nir_sparse.score_predictor.0.weight"):
        assert np.abs(loud[key]).max() > 1e6 * np.abs(quiet[key]).max()


@pytest.mark.parametrize("name", SPARSE)
def test_token_sparse(load, assert_close, name):
    case, model, variables = load(name)
    settings = case.meta["constructor_args"]
    names = ("tokens", *ATTENTION)

    def loss(params, *inputs):
        selection = model.apply(
            params,
            *inputs,
            beta=settings["beta"],
            train=settings["train"],
            uniforms=case.group("input").get("uniform"),
        )
        total = sum(
            jnp.sum(getattr(selection, ours) * case[f"input/cotangent_{key}"])
            for key, ours in SELECTION.items()
            if f"input/cotangent_{key}" in case.arrays
        )
        return total, selection

    inputs = [jnp.asarray(case[f"input/{key}"]) for key in names]
    numbers = tuple(range(1 + len(inputs)))
    gradient = jax.jit(jax.grad(loss, numbers, has_aux=True))
    (found, *of_inputs), selection = gradient(variables, *inputs)
    for key, ours in SELECTION.items():
        assert_close(getattr(selection, ours), case[f"output/{key}"], OUTPUT, key)
    np.testing.assert_array_equal(selection.keep_indices, case["output/keep_indices"])
    for key in ("score_mask", "selected_mask"):
        found_mask = getattr(selection, SELECTION[key])
        np.testing.assert_array_equal(found_mask, case[f"output/{key}"])
    for key, actual in zip(names, of_inputs, strict=True):
        assert_close(actual, case[f"grad_input/{key}"], GRADIENT, key)
    check_gradients(case, model, found, assert_close)


@pytest.mark.parametrize("name", AGGREGATION)
def test_token_aggregation(load, assert_close, name):
    case, model, variables = load(name)
    names = [key for key in ("x", "keep_policy") if f"input/{key}" in case.arrays]
    assert (len(names) == 2) == case.meta["constructor_args"]["masked"]

    def loss(params, *inputs):
        aggregated, _ = model.apply(params, *inputs)
        return jnp.sum(aggregated * case["input/cotangent"]), aggregated

    inputs = [jnp.asarray(case[f"input/{key}"]) for key in names]
    numbers = tuple(range(1 + len(inputs)))
    gradient = jax.jit(jax.grad(loss, numbers, has_aux=True))
    (found, *of_inputs), aggregated = gradient(variables, *inputs)
    assert_close(aggregated, case["output/aggregated"], OUTPUT, "aggregated")
    for key, actual in zip(names, of_inputs, strict=True):
        assert_close(actual, case[f"grad_input/{key}"], GRADIENT, key)
    check_gradients(case, model, found, assert_close)


@pytest.mark.parametrize("name", [*MULTIMODAL, *SPARSE, *AGGREGATION])
def test_conversion_is_exact_both_ways(load, name):
    case, model, variables = load(name)
    checks.conversion_is_exact(case, model)
    found = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert found == case.meta["parameters"]


def test_the_real_size():
    assert checks.number_of_parameters(MultiModalSDTPS()) == 365_157
    assert checks.number_of_parameters(TokenSparse()) == 65_793
    assert checks.number_of_parameters(TokenAggregation(keeped_patches=25)) == 55_926
