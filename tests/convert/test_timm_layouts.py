"""Recorded ViTs of timm and DeiTs of transformers: the keys tell what they have."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import convert, models
from tokenjax.convert.checkpoint_files import read_state_dict
from tokenjax.convert.command import convert as convert_file
from tokenjax.errors import ConversionError
from tokenjax.prediction import embedding

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "layouts"
HEADS = {"num_heads": 3}  # which no key tells
# (case, suffix of its arrays)
SEEN = [
    ("timm_plain", ""),
    ("timm_reg4", ""),
    ("timm_reg4", "_2"),
    ("timm_reg4", "_3"),
    ("timm_reg4_embed", ""),
    ("timm_reg4_gap", ""),
    ("timm_layer_scale", ""),
    ("timm_qk_norm", ""),
    ("timm_gap", ""),
    ("timm_deit3", ""),
    ("timm_distilled", ""),
    ("timm_no_qkv_bias", ""),
    ("timm_hub", ""),
    ("hf_deit", ""),
    ("hf_deit", "_2"),
    ("hf_deit_teacher", ""),
]
ALIKE = {  # whose like is among the others
    ("timm_plain", ""),
    ("timm_reg4", "_3"),
    ("timm_deit3", ""),
    ("timm_no_qkv_bias", ""),
}
TIMM = sorted({case for case, _ in SEEN if case.startswith("timm_")} - {"timm_hub"})


def path_of(case):
    directory = GOLDEN / case
    files = [*directory.glob("*.pth"), *directory.glob("*.safetensors")]
    return str(files[0] if case.startswith("timm_") else directory)


@functools.cache
def converted(case, size):
    given = {"img_size": size}
    if case.startswith("timm_"):
        given |= HEADS
    return convert_file("vit_base_patch16", path_of(case), given)


def assert_near(found, expected, tolerance, name):
    """Hold the largest difference to a share of the largest number."""
    error = np.abs(np.asarray(found, np.float64) - expected).max()
    assert error <= tolerance * np.abs(expected).max(), (name, error)


@pytest.mark.parametrize(
    ("case", "suffix"),
    [
        pytest.param(*seen, marks=pytest.mark.long if seen in ALIKE else ())
        for seen in SEEN
    ],
)
def test_recorded_outputs_and_gradients(golden, case, suffix):
    recorded = golden(f"layouts/{case}/case")
    images = recorded[f"input/images{suffix}"].transpose(0, 2, 3, 1)
    found = converted(case, images.shape[1:3])
    model = models.create("vit_base_patch16", **found.facts.arguments)

    def loss(images):
        logits, aux = model.apply(found.variables, images)
        weights = recorded[f"input/cotangent_logits{suffix}"]
        return jnp.sum(logits * weights), (logits, aux["tokens"])

    differentiate = jax.jit(jax.grad(loss, has_aux=True))
    slopes, (logits, tokens) = differentiate(jnp.asarray(images))
    assert_near(tokens, recorded[f"output/tokens{suffix}"], 1e-5, "tokens")
    assert_near(logits, recorded[f"output/logits{suffix}"], 1e-5, "logits")
    wanted = recorded[f"grad_input/images{suffix}"].transpose(0, 2, 3, 1)
    assert_near(slopes, wanted, 1e-4, "gradient")


@pytest.mark.parametrize(
    "suffix", ["_2", *(pytest.param(s, marks=pytest.mark.long) for s in ("", "_3"))]
)
@pytest.mark.parametrize("case", ["hf_dinov2", "hf_dinov2_registers"])
def test_the_tokens_of_dinov2(golden, case, suffix):
    """Its classifier reads the class token beside the mean patch, as none here does."""
    recorded = golden(f"layouts/{case}/case")
    images = recorded[f"input/images{suffix}"].transpose(0, 2, 3, 1)
    given = {"img_size": images.shape[1:3]}
    found = convert_file("vit_base_patch16", path_of(case), given, head="new")
    model = models.create("vit_base_patch16", **found.facts.arguments)
    _, aux = jax.jit(model.apply)(found.variables, images)
    assert_near(aux["tokens"], recorded[f"output/tokens{suffix}"], 1e-5, "tokens")
    assert model.reg_tokens == (4 if case == "hf_dinov2_registers" else 0)


def test_dinov2s_classifier_reads_too_much():
    with pytest.raises(ConversionError, match=r"head.weight is \(6, 48\).*--head=new"):
        convert_file("vit_base_patch16", path_of("hf_dinov2"), {})


@pytest.mark.parametrize("case", ["timm_distilled", "timm_gap"])
def test_the_embedding_is_what_the_classifiers_read(golden, case):
    recorded = golden(f"layouts/{case}/case")
    images = recorded["input/images"].transpose(0, 2, 3, 1)
    found = converted(case, images.shape[1:3])
    model = models.create("vit_base_patch16", **found.facts.arguments)
    embed = jax.jit(functools.partial(embedding.embed, model))
    vectors = embed(found.variables, jnp.asarray(images))
    assert_near(vectors, recorded["output/pooled"], 1e-5, "embedding")


@pytest.mark.parametrize("case", TIMM)
def test_the_keys_tell_the_arguments_and_come_back(golden, case):
    arguments = dict(golden(f"layouts/{case}/case").meta["arguments"])
    arguments.pop("dynamic_img_size", None)
    scaled = arguments.pop("init_values", None) is not None  # values are the file's
    found = convert_file("vit_base_patch16", path_of(case), HEADS)
    model = models.create("vit_base_patch16", **found.facts.arguments)
    assert {key: getattr(model, key) for key in arguments} == arguments
    assert (model.init_values is not None) == scaled
    assert model.distilled == (case == "timm_distilled")
    state = read_state_dict(path_of(case))
    back = convert.to_torch(model, found.variables)
    assert set(back) == set(state)
    for key, array in state.items():
        np.testing.assert_array_equal(back[key], np.asarray(array), err_msg=key)
