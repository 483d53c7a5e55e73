"""Other published names of the same weights: written anew here, and read back equal."""

import pathlib

import jax
import numpy as np
import pytest
from helpers import published_weights as written
from helpers.drawn_variables import drawn_variables
from helpers.small_models import SMALL

from tokenjax import convert, models
from tokenjax.convert.command import convert as convert_file
from tokenjax.convert.layouts import rename
from tokenjax.convert.mapping import as_arrays

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "layouts"
DEPTH = 2  # of the small transformers
LAYOUTS = {
    "transformers": ("vit_tiny_patch16", lambda s: written.transformers_vit(s, DEPTH)),
    "transformers, no prefix": (
        "vit_tiny_patch16",
        lambda s: written.transformers_vit(s, DEPTH, ""),
    ),
    "transformers 5": (
        "vit_tiny_patch16",
        lambda s: written.transformers_5_vit(s, DEPTH),
    ),
    "torchvision": ("vit_tiny_patch16", lambda s: written.torchvision_vit(s, DEPTH)),
    "microsoft": ("swin_tiny", lambda s: written.microsoft_swin(s, (4, 4))),
    "meta": ("convnextv2_tiny", written.meta_convnext),
    "convolutions": ("maxvit_tiny", written.pointwise),
    "first": ("vmamba_tiny", written.first_vmamba),
    "flat": ("vmamba_tiny", written.flat_vmamba),
}


@pytest.fixture(scope="module")
def drawn():
    """drawn(name) -> (model, state_dict), drawn once."""
    found = {}

    def draw(name):
        if name not in found:
            model = models.create(name, **SMALL[name])
            variables = drawn_variables(model, *model.example_inputs(1))
            found[name] = model, convert.to_torch(model, variables)
        return found[name]

    return draw


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_weights_back(drawn, layout):
    name, write = LAYOUTS[layout]
    model, state = drawn(name)
    file = write(state)
    assert set(file) != set(state) or layout == "convolutions"
    back = convert.to_torch(model, convert.from_torch(model, file))
    assert set(back) == set(state)
    for key, expected in state.items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(back[key], expected, err_msg=key)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_names_of_our_own_tables_stay(drawn, name):
    model, state = drawn(name)
    renamed = rename(type(model), as_arrays(state))
    assert set(renamed) == set(state)
    for key, array in state.items():
        np.testing.assert_array_equal(renamed[key], array)


def test_a_window_index_of_no_window_is_refused(drawn):
    model, state = drawn("swin_tiny")
    file = written.microsoft_swin(state, (4, 4))
    name = "layers.1.blocks.0.attn.relative_position_index"
    file[name] = file[name][::-1]
    with pytest.raises(convert.ConversionError, match=f"unexpected: {name}"):
        convert.from_torch(model, file)


def test_a_key_that_is_there_under_two_names_is_refused(drawn):
    model, state = drawn("vit_tiny_patch16")
    both = state | {"vit.embeddings.cls_token": state["cls_token"]}
    with pytest.raises(convert.ConversionError, match="cls_token twice"):
        convert.from_torch(model, both)


def test_three_projections_of_which_one_is_missing_are_named(drawn):
    model, state = drawn("vit_tiny_patch16")
    file = written.transformers_vit(state, DEPTH)
    del file["vit.encoder.layer.1.attention.attention.key.bias"]
    with pytest.raises(convert.ConversionError) as caught:
        convert.from_torch(model, file)
    assert "missing: blocks.1.attn.qkv.bias" in str(caught.value)
    assert "unexpected: blocks.1.attn.q_proj.bias" in str(caught.value)


@pytest.mark.parametrize("case", ["hf_vit", "hf_vit_new_keys", "hf_vit_model"])
def test_recorded_transformers(golden, assert_close, case):
    """A directory as transformers writes one, with its config.json, by its outputs."""
    recorded = golden(f"layouts/{case}/case")
    directory = GOLDEN / case
    head = "keep" if "logits" in recorded.group("output") else "new"
    found = convert_file("vit_base_patch16", str(directory), {}, head=head)
    assert found.facts.arguments["norm_eps"] in (1e-12, 0.002)
    assert ("left out: pooler.dense" in "\n".join(found.lines)) is (head == "new")
    model = models.create("vit_base_patch16", **found.facts.arguments)
    images = recorded["input/images"].transpose(0, 2, 3, 1)
    logits, aux = jax.jit(model.apply)(found.variables, images)
    assert_close(aux["tokens"], recorded["output/tokens"], 2e-6, "tokens")
    if head == "keep":
        assert_close(logits, recorded["output/logits"], 2e-6, "logits")


def test_positions_of_transformers_are_resized_as_it_does(golden, assert_close):
    recorded, size = golden("layouts/hf_vit/case"), {"img_size": (35, 42)}
    found = convert_file("vit_base_patch16", str(GOLDEN / "hf_vit"), size)
    assert "pos_embed: resized from 4 x 4 to 5 x 6 (bicubic)" in found.lines
    model = models.create("vit_base_patch16", **found.facts.arguments)
    images = recorded["input/images_2"].transpose(0, 2, 3, 1)
    logits, _ = jax.jit(model.apply)(found.variables, images)
    assert_close(logits, recorded["output/logits_2"], 2e-6, "logits")


@pytest.mark.parametrize("activation", [None, "quick_gelu"])
def test_a_recorded_clip_of_gelu(golden, assert_close, activation):
    """config.json tells the activation; another that is given is another network."""
    recorded = golden("layouts/hf_clip_vision_gelu/case")
    given = {"h_resolution": 7, "w_resolution": 7}
    if activation:
        given["activation"] = activation
    found = convert_file("clip_vit", str(GOLDEN / "hf_clip_vision_gelu"), given)
    model = models.create("clip_vit", **found.facts.arguments)
    images = recorded["input/images"].transpose(0, 2, 3, 1)
    tokens, _ = jax.jit(model.apply)(found.variables, images)
    if activation:
        difference = tokens[:, 0] - recorded["output/embeds"]
        assert np.linalg.norm(difference) > 1e-3
    else:
        assert model.activation == "gelu"
        assert_close(tokens[:, 0], recorded["output/embeds"], 2e-6, "embeds")
