"""Weights of one use for another: same is same, bit for bit; all else as is said."""

import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.model_shapes import find_shapes
from helpers.small_models import NAMES, SMALL, small, some_long

from tokenjax import models
from tokenjax.errors import CheckpointError
from tokenjax.models import contract
from tokenjax.training.adaptation import Origin, adapt, reorder_head
from tokenjax.training.parameter_groups import members

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
TURNED = ("dog", "ant", "gnu", "cat", "bee", "fox", "eel")
READS_CHANNELS = [
    name for name in NAMES if contract.INPUT in small(name).parameter_groups()
]


def flat(variables):
    return flax.traverse_util.flatten_dict(dict(variables), sep="/")


def drawn(model, seed):
    """Variables with something everywhere, so that no two arrays are alike."""
    shapes = find_shapes(model, *model.example_inputs(1))
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: random.random(leaf.shape).astype(leaf.dtype) + 0.1, shapes
    )


def same(one, other):
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for path, array in one.items():
        np.testing.assert_array_equal(array, other[path], err_msg=path)
        assert array.dtype == other[path].dtype


@pytest.mark.parametrize("name", NAMES)
def test_the_same_use_is_the_same_bit_for_bit(name):
    model = small(name)
    given = drawn(model, 1)
    adapted, said = adapt(
        drawn(model, 2), given, model, CLASSES, Origin(model, CLASSES)
    )
    same(adapted, given)
    assert said == []


@pytest.mark.parametrize("name", NAMES)
def test_classes_in_another_order_keep_their_scores(name):
    model = small(name)
    given, own = drawn(model, 1), drawn(model, 2)
    adapted, said = adapt(own, given, model, TURNED, Origin(model, CLASSES))
    assert said == ["the head's classes are put in this run's order"]
    head = members(model.parameter_groups(), own["params"], contract.HEAD)
    order = [CLASSES.index(name) for name in TURNED]
    for path, array in flat(given).items():
        if path.removeprefix("params/") in head:
            array = array[..., order]
        np.testing.assert_array_equal(flat(adapted)[path], array, err_msg=path)
    reordered = reorder_head(given, model.parameter_groups(), CLASSES, TURNED)
    same(reordered, adapted)


def test_scores_of_other_classes_cannot_be_put_in_order():
    model = small("vit")
    others = ("yak", *CLASSES[1:])
    with pytest.raises(CheckpointError, match=r"has 7 classes, .*; 6 are the same"):
        reorder_head(drawn(model, 1), model.parameter_groups(), CLASSES, others)
    given = drawn(model, 1)
    assert reorder_head(given, model.parameter_groups(), None, others) is given


@pytest.mark.parametrize(
    "name", ["vit", pytest.param("attention_routing", marks=pytest.mark.long)]
)
def test_a_network_of_turned_classes_names_the_same(name):
    model = small(name)
    images = jax.random.normal(jax.random.key(5), model.example_inputs(3)[0].shape)
    given = drawn_variables(model, *model.example_inputs(1))
    adapted, _ = adapt(given, given, model, TURNED, Origin(model, CLASSES))
    apply = jax.jit(scores(model))
    before, after = (apply(each, images) for each in (given, adapted))
    for one, other in zip(before.argmax(-1), after.argmax(-1), strict=True):
        assert CLASSES[one] == TURNED[other]
    order = [CLASSES.index(name) for name in TURNED]
    np.testing.assert_allclose(after, before[:, order], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_other_classes_get_a_new_head_and_nothing_else(name):
    model, wider = small(name), small(name, num_classes=9)
    given, own = drawn(model, 1), drawn(wider, 2)
    others = (*CLASSES[:3], "owl", "pig", "rat", "sow", "yak", "zho")
    adapted, (said,) = adapt(own, given, wider, others, Origin(model, CLASSES))
    assert said.startswith("a new head for 9 classes (the weights' has 7 classes, ")
    assert said.endswith("; 3 are the same)")
    head = members(wider.parameter_groups(), own["params"], contract.HEAD)
    for path, array in flat(adapted).items():
        new = path.removeprefix("params/") in head
        np.testing.assert_array_equal(array, flat(own if new else given)[path])


def test_as_many_other_classes_are_other_classes():
    model = small("vit")
    given, own = drawn(model, 1), drawn(model, 2)
    others = (*CLASSES[:-1], "yak")
    adapted, (said,) = adapt(own, given, model, others, Origin(model, CLASSES))
    assert "6 are the same" in said
    same({"head": adapted["params"]["head"]}, {"head": own["params"]["head"]})


def test_what_becomes_of_the_head_can_be_told():
    model = small("vit")
    given, own = drawn(model, 1), drawn(model, 2)
    named = Origin(model, CLASSES)
    fresh, said = adapt(own, given, model, CLASSES, named, head="new")
    assert said == ["a new head for 7 classes"]
    same({"head": fresh["params"]["head"]}, {"head": own["params"]["head"]})
    same(adapt(own, given, model, CLASSES, named, head="keep")[0], given)
    others = ("yak", *CLASSES[1:])
    with pytest.raises(CheckpointError, match=r'the data has 7.*init_head="keep"'):
        adapt(own, given, model, others, named, head="keep")


@pytest.mark.parametrize("origin", [None, "model"])
def test_weights_that_name_no_classes_are_taken_by_their_number(origin):
    model, wider = small("vit"), small("vit", num_classes=8)
    given = drawn(model, 1)
    origin = origin and Origin(model)
    adapted, said = adapt(drawn(model, 2), given, model, CLASSES, origin)
    assert said == ["the head is kept: it has 7 classes, whose names it lacks"]
    same(adapted, given)
    own = drawn(wider, 2)
    adapted, (said,) = adapt(own, given, wider, (*CLASSES, "yak"), origin)
    assert said == (
        "a new head for 8 classes (the weights' is of another size and names no "
        "classes)"
    )
    same({"head": adapted["params"]["head"]}, {"head": own["params"]["head"]})


def test_weights_without_a_head_get_one():
    model = small("resnet50")
    given, own = drawn(model, 1), drawn(model, 2)
    del given["params"]["fc"]
    adapted, said = adapt(own, given, model, CLASSES, Origin(model))
    assert said == ["a new head for 7 classes (the weights have none)"]
    same({"fc": adapted["params"]["fc"]}, {"fc": own["params"]["fc"]})
    with pytest.raises(CheckpointError, match="the weights have none: init_head="):
        adapt(own, given, model, CLASSES, Origin(model), head="keep")


def test_other_statistics_of_batches_come_with_the_weights():
    model, wider = small("resnet50"), small("resnet50", num_classes=9)
    given, own = drawn(model, 1), drawn(wider, 2)
    classes = tuple("abcdefghi")
    adapted, _ = adapt(own, given, wider, classes, Origin(model, CLASSES))
    same(adapted["batch_stats"], given["batch_stats"])


def test_what_does_not_fit_is_listed():
    model, deeper = small("vit"), small("vit", depth=3)
    with pytest.raises(CheckpointError, match="missing: params/blocks_2/attn"):
        adapt(
            *(drawn(deeper, 2), drawn(model, 1), deeper, CLASSES),
            Origin(model, CLASSES),
        )


@pytest.mark.parametrize("name", some_long(READS_CHANNELS))
def test_a_grey_picture_gives_colours_scores(name):
    colour, grey = small(name), small(name, **channels(name, 1))
    given = drawn_variables(colour, *colour.example_inputs(1))
    own = drawn(grey, 2)
    adapted, said = adapt(own, given, grey, CLASSES, Origin(colour, CLASSES))
    assert said == ["kernels that read 3 channels are added up to read 1"]
    images = jax.random.uniform(jax.random.key(3), grey.example_inputs(2)[0].shape)
    before = jax.jit(scores(colour))(given, jnp.repeat(images, 3, axis=-1))
    after = jax.jit(scores(grey))(adapted, images)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", READS_CHANNELS)
def test_colour_has_a_third_of_greys_kernels_each(name):
    colour, grey = small(name), small(name, **channels(name, 1))
    given, own = drawn(grey, 1), drawn(colour, 2)
    adapted, said = adapt(own, given, colour, CLASSES, Origin(grey, CLASSES))
    assert said == ["kernels that read 1 channels are shared out to read 3"]
    back, _ = adapt(given, adapted, grey, CLASSES, Origin(colour, CLASSES))
    for path, array in flat(back).items():
        np.testing.assert_allclose(array, flat(given)[path], rtol=1e-6)
    for path, array in flat(adapted).items():
        if array.shape != flat(given)[path].shape:
            of_place = array.reshape(-1, 3, array.shape[-1])
            np.testing.assert_array_equal(of_place[:, 0], of_place[:, 1])
            np.testing.assert_array_equal(of_place[:, 0], of_place[:, 2])


def channels(name, count):
    known = models.arguments(name).values()
    return {a.name: count for a in known if a.from_data == "channels"}


def scores(model):
    return lambda variables, images: model.apply(variables, images)[0]


def test_channels_of_neither_grey_nor_colour_are_refused():
    four, colour = small("vit", in_channels=4), small("vit")
    with pytest.raises(
        CheckpointError, match="of images of 4 channels, the data has 3"
    ):
        adapt(
            *(drawn(colour, 2), drawn(four, 1), colour, CLASSES),
            Origin(four, CLASSES),
        )


def laid_out(name):
    return isinstance(small(name), contract.KnowsPlaces)


@functools.cache
def larger(name):
    """The model for images of another grid."""
    sizes = {"swin_tiny": 6, "swin_base": 6}
    return small(name, img_size=sizes.get(name, SMALL[name]["img_size"] * 2))


@pytest.mark.parametrize("name", [name for name in NAMES if laid_out(name)])
def test_positions_go_by_their_grid(name):
    model, other = small(name), larger(name)
    given, own = drawn(model, 1), drawn(other, 2)
    there, here = model.places(), other.places()
    changed = {path for path in here if here[path].grid != there[path].grid}
    assert changed
    for path in changed:  # what is alike everywhere stays so
        flat(given)[path][...] = 0.5
    adapted, (said,) = adapt(own, given, other, CLASSES, Origin(model, CLASSES))
    path = sorted(changed)[0]
    grids = ["{}x{}".format(*places[path].grid) for places in (there, here)]
    assert said.startswith("positions resized from ")
    assert f"{grids[0]} to {grids[1]}" in said
    for path, array in flat(adapted).items():
        assert array.shape == flat(own)[path].shape
        if path in changed:
            np.testing.assert_allclose(array, 0.5, rtol=1e-6, err_msg=path)
        else:
            np.testing.assert_array_equal(array, flat(given)[path], err_msg=path)


def test_as_many_places_of_another_grid_are_another_grid():
    sizes = {"patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}
    tall = models.create("vit_tiny_patch16", img_size=(32, 8), num_classes=7, **sizes)
    square = models.create("vit_tiny_patch16", img_size=16, num_classes=7, **sizes)
    given, own = drawn(tall, 1), drawn(square, 2)
    rows = np.arange(8, dtype=np.float32).repeat(2)  # each patch says its row
    given["params"]["encoder"]["pos_embed"][0, 1:] = rows[:, None]
    adapted, (said,) = adapt(own, given, square, CLASSES, Origin(tall, CLASSES))
    assert said == "positions resized from 8x2 to 4x4"
    found = adapted["params"]["encoder"]["pos_embed"][0]
    np.testing.assert_array_equal(
        found[0], given["params"]["encoder"]["pos_embed"][0, 0]
    )
    grid = found[1:, 0].reshape(4, 4)
    np.testing.assert_allclose(grid, grid[:, :1].repeat(4, 1), atol=1e-5)
    np.testing.assert_allclose(grid[1:3, 0], [2.5, 4.5], atol=0.1)


def test_maps_of_offsets_go_by_their_size():
    model, other = small("maxvit_tiny"), small("maxvit_tiny", img_size=128)
    given, own = drawn(model, 1), drawn(other, 2)
    path = "params/stages_0_blocks_0/attn_grid/attn/relative_position_bias_table"
    heads, rows, columns = flat(given)[path].shape
    flat(given)[path][...] = np.arange(1.0, heads + 1)[:, None, None]
    adapted, (said,) = adapt(own, given, other, CLASSES, Origin(model, CLASSES))
    found = flat(adapted)[path]
    assert said == f"tables of offsets resized from {rows}x{columns} to 7x7"
    assert found.shape == (heads, 7, 7)
    for head in range(heads):
        np.testing.assert_allclose(found[head], head + 1, rtol=1e-6)


def test_a_grid_is_not_guessed():
    model, other = small("vit"), larger("vit")
    with pytest.raises(CheckpointError, match="wrong shape: params/pos_embed"):
        adapt(drawn(other, 2), drawn(model, 1), other, CLASSES)


@pytest.mark.parametrize("name", ["vit", "vit_base_patch16"])
def test_a_method_of_reduction_begins_anew_on_a_networks_weights(name):
    dense = small(name)
    spec = "dynamicvit:pruning_loc=(1,),token_ratio=0.5"
    model = dense.clone(reduction=spec)
    given, own = drawn(dense, 1), drawn(model, 2)
    adapted, said = adapt(own, given, model, CLASSES, Origin(dense, CLASSES))
    assert said == ["new parameters of what judges tokens"]
    found, new = flat(adapted), flat(own)
    for path, array in flat(given).items():
        np.testing.assert_array_equal(found.pop(path), array)
    assert found
    for path, array in found.items():
        assert "reduction_1" in path
        np.testing.assert_array_equal(array, new[path])
