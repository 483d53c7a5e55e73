"""Every registered model keeps to the contract, and to what it says it can do."""

import ast
import functools
import pathlib

import flax.linen as nn
import flax.traverse_util
import jax
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.model_shapes import find_shapes
from helpers.small_models import DEMO, ELSEWHERE, SMALL, VARIANTS

from tokenjax import models, plots, training
from tokenjax.arguments import describe
from tokenjax.models import contract
from tokenjax.training.parameter_groups import members, resolve_groups
from tokenjax.training.parameter_names import number_layers

BACKBONES = {  # DeMo's other towers
    "clip": {},
    "clip_one_camera": {"camera_num": 1},
    "no_cameras": {"sie_camera": False},
    "imagenet": {"transformer_type": "vit_base_patch16_224", "feat_dim": 0},
    "imagenet_one_camera": {
        "transformer_type": "vit_base_patch16_224",
        "feat_dim": 0,
        "camera_num": 1,
    },
    "t2t": {
        "transformer_type": "t2t_vit_t_14",
        "image_size": (32, 16),
        "stride_size": (16, 16),
        "patch_size": 16,
        "feat_dim": 0,
    },
    "hdm": {"fusion": "hdm"},
    "hdm_atm": {"fusion": "hdm_atm"},
    "no_fusion": {"fusion": "none"},
    "by_modality": {"direct": False},
}
CLASSES = {"num_classes": 7}
LEARNED = {"reduction": "dynamicvit:pruning_loc=(1,),token_ratio=0.5"}
CASES = {
    **{name: (name, {}) for name in models.names() if name in ELSEWHERE},
    # Of as many classes as the variants: what is equal is traced once.
    **{name: (name, CLASSES | arguments) for name, arguments in SMALL.items()},
    **{
        variant: (name, CLASSES | SMALL[name] | more)
        for variant, (name, more) in VARIANTS.items()
    },
    **{f"demo_{name}": ("demo", DEMO | more) for name, more in BACKBONES.items()},
    "demo": ("demo", DEMO),
    "camera_vit_cameras": ("camera_vit", {"camera": 3}),
    "camera_vit_one_view": ("camera_vit", {"camera": 1, "view": 1}),
    "dynamic_vit_shallow": ("dynamic_vit", SMALL["dynamic_vit"] | {"depth": 1}),
    "dynamic_vit_unpruned": ("dynamic_vit", SMALL["dynamic_vit"] | {"pruning": "none"}),
    "vit_dynamicvit": ("vit", SMALL["vit"] | LEARNED),
    "vit_base_patch16_dynamicvit": (
        "vit_base_patch16",
        SMALL["vit_base_patch16"] | LEARNED,
    ),
}


@functools.cache
def built(case: str) -> nn.Module:
    name, arguments = CASES[case]
    return models.create(name, **arguments)


def shapes(case: str) -> dict:
    model = built(case)
    return find_shapes(model, *model.example_inputs(2))


def evaluated(model, variables, **arguments):
    """Shapes of what it returns at inference."""
    apply = functools.partial(model.apply, **arguments)
    return jax.eval_shape(apply, variables, *model.example_inputs(2))


@pytest.mark.parametrize("case", CASES)
def test_groups_have_known_names_and_members(case):
    model = built(case)
    assert isinstance(model, contract.Model)
    groups = model.parameter_groups()
    assert set(groups) <= set(contract.GROUPS)
    found = resolve_groups(groups, shapes(case)["params"])
    assert all(found.values())
    if case in SMALL:
        assert found[contract.HEAD], "a classifier has a head"


def changed(case, what):
    """Shapes with an argument that follows from the data one larger: path -> both."""
    model = built(case)
    names = [a.name for a in describe(type(model)).values() if a.from_data == what]
    if not names:
        return None
    (name,) = names
    other = model.clone(**{name: getattr(model, name) + 1})
    more = find_shapes(other, *other.example_inputs(2))
    flat, larger = (
        flax.traverse_util.flatten_dict(tree, sep="/") for tree in (shapes(case), more)
    )
    return {
        path: (leaf.shape, larger[path].shape)
        for path, leaf in flat.items()
        if leaf.shape != larger[path].shape
    }


@pytest.mark.parametrize("case", CASES)
def test_the_head_is_what_counts_classes_on_its_last_axis(case):
    found = changed(case, "classes")
    model = built(case)
    params = shapes(case)["params"]
    head = members(model.parameter_groups(), params, contract.HEAD)
    assert {f"params/{path}" for path in head} == set(found or {})
    for before, after in (found or {}).values():
        assert after == (*before[:-1], before[-1] + 1)


@pytest.mark.parametrize("case", CASES)
def test_kernels_of_the_input_are_what_an_images_channels_change(case):
    found = changed(case, "channels")
    groups = built(case).parameter_groups()
    if contract.INPUT not in groups:
        assert found is None or "t2t" in case, "T2T-ViT has no such kernel"
        return
    read = members(groups, shapes(case)["params"], contract.INPUT)
    assert {f"params/{path}" for path in read} == set(found)
    for before, after in found.values():
        *places, inputs, features = before
        assert after[-1] == features
        assert after[:-2] == tuple(places)
        assert inputs % (after[-2] - inputs) == 0, "so many places of a channel"


def names_of(protocol):
    return [case for case in CASES if isinstance(built(case), protocol)]


@pytest.mark.parametrize("case", names_of(contract.Drawable))
def test_what_figures_take_has_the_axis_of_images_that_they_say(case):
    model = built(case)
    _, plain = evaluated(model, shapes(case))
    _, aux = evaluated(model.with_attention(), shapes(case))
    assert set(aux) == set(plain)
    found = jax.eval_shape(lambda aux: plots.collect(aux, 2), aux)
    assert found, "a figure takes something of it"
    for key, array in found.items():
        assert array.shape[plots.image_axis(key)] == 2, (key, array.shape)
    if aux.get("attention") is not None:
        assert all(weights.ndim == 4 for weights in aux["attention"])


@pytest.mark.parametrize("case", names_of(contract.RoutesPatches))
def test_a_router_takes_what_a_schedule_changes(case):
    model = built(case)
    assert 0 <= model.target_ratio <= 1
    assert model.temperature > 0
    arguments = {"target_ratio": 0.5, "temperature": 0.7}
    _, aux = evaluated(model, shapes(case), **arguments)
    patches = aux["mask"].shape
    assert patches[0] == 2
    assert aux["attention_scores"].shape == patches
    for key in ("routing_ratio", "expected_flops", "actual_flops"):
        assert aux[key].shape == (2,)
    assert aux["threshold"].shape == ()


def learns(model):
    return isinstance(model, contract.Prunes) and model.learns_to_prune()


@pytest.mark.parametrize("case", [case for case in CASES if learns(built(case))])
def test_the_unpruned_network_lacks_the_predictors_alone(case):
    model, (name, arguments) = built(case), CASES[case]
    unpruned = model.unpruned()
    named = models.create(name, **{**arguments, **model.unpruned_arguments()})
    assert evaluated(unpruned, shapes(case)) == evaluated(named, shapes(case))
    groups, params = model.parameter_groups(), shapes(case)["params"]
    predictors = members(groups, params, contract.PREDICTORS)
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    kept = {path: leaf for path, leaf in flat.items() if path not in predictors}
    variables = {"params": flax.traverse_util.unflatten_dict(kept, sep="/")}
    plain = model.plain()
    assert find_shapes(plain, *plain.example_inputs(2)) == variables
    assert not learns(plain)
    _, aux = evaluated(unpruned, variables)
    _, pruned = evaluated(model, shapes(case))
    masks = jax.eval_shape(model.keep_masks, pruned)  # (steps, b, p)
    assert aux["tokens"].shape[:2] == (masks.shape[1], 1 + masks.shape[2])


@pytest.mark.parametrize("case", names_of(contract.Retrieves))
def test_a_retriever_has_every_feature_and_pairs(case):
    model = built(case)
    images, _ = model.example_inputs(2)
    for missing in ((), tuple(images)[:1]):
        outputs = evaluated(model, shapes(case), missing=missing)
        assert set(outputs["features"]) == set(contract.FEATURES)
    pairs = model.pairs(outputs)
    assert pairs
    for scores, feature in pairs.values():
        assert scores.shape[0] == feature.shape[0] == 2
    fused = contract.FUSED in model.parameter_groups()
    assert (contract.FUSED_PAIR in pairs) is fused


@pytest.mark.parametrize("case", names_of(contract.SelectsTokens))
def test_a_selection_covers_the_grid(case):
    model = built(case)
    assert model.selects_tokens() is (CASES[case][1].get("fusion", "sdtps") == "sdtps")
    if not model.selects_tokens():
        return
    outputs = evaluated(model, shapes(case))
    found = jax.eval_shape(model.selection, outputs)
    rows, columns = model.grid
    for images in found["mask"].values(), found["scores"].values():
        assert all(array.shape == (2, rows * columns) for array in images)
    assert all(a.shape[2] == rows * columns for a in found["weights"].values())


@pytest.mark.parametrize("case", names_of(contract.Layered))
def test_every_parameter_lies_in_one_layer(case):
    layers, params = built(case).parameter_layers(), shapes(case)["params"]
    numbers, count = number_layers(layers, params)
    paths = flax.traverse_util.flatten_dict(params, sep="/")
    assert set(numbers) == set(paths)
    assert set(numbers.values()) == set(range(count))
    head = members(built(case).parameter_groups(), params, contract.HEAD)
    assert {numbers[path] for path in head} == {count - 1}
    for patterns in layers[1:-1]:  # blocks are a layer each, in order
        assert len(patterns) <= 3, patterns


def test_every_classifier_has_layers():
    layered = names_of(contract.Layered)
    assert {*SMALL, *VARIANTS} <= set(layered)


CROPPING = {
    "vdpa": ({"img_size": 18}, (2, 2)),
    "vit_base_patch16": ({"img_size": (16, 19)}, (0, 3)),
    "swin_tiny": ({"img_size": 19}, (1, 1)),
    "convnextv2_tiny": ({"img_size": 18}, (2, 2)),
    "camera_vit": (
        {"img_size": (17, 12), "patch_size": 8, "stride_size": 4, "embed_dim": 8}
        | {"depth": 1, "num_heads": 2},
        (1, 0),
    ),
}


@pytest.mark.parametrize("case", CROPPING)
def test_what_fills_no_patch_is_not_seen(case):
    (name, arguments), (more, unseen) = CASES[case], CROPPING[case]
    model = models.create(name, **{**arguments, **more})
    assert isinstance(model, contract.Crops)
    assert model.unseen_pixels() == unseen
    (images,) = model.example_inputs(1)
    variables = drawn_variables(model, images)
    apply = jax.jit(lambda images: model.apply(variables, images)[0])

    def painted(rows, columns):
        height, width = images.shape[1:3]
        image = images.at[:, height - rows :].set(9.0)
        return apply(image.at[:, :, width - columns :].set(9.0))

    expected, (rows, columns) = painted(0, 0), unseen
    np.testing.assert_array_equal(painted(rows, columns), expected)
    assert not np.array_equal(painted(rows + 1, columns), expected)
    assert not np.array_equal(painted(rows, columns + 1), expected)


@pytest.mark.parametrize("case", names_of(contract.Crops))
def test_what_is_not_seen_is_less_than_a_patch(case):
    rows, columns = built(case).unseen_pixels()
    assert 0 <= min(rows, columns) <= max(rows, columns) < 16


@pytest.mark.parametrize("case", names_of(contract.KnowsPlaces))
def test_places_are_of_arrays_that_have_as_many_rows(case):
    flat = flax.traverse_util.flatten_dict(shapes(case), sep="/")
    layouts = built(case).places()
    assert layouts
    for path, places in layouts.items():
        assert flat[path].shape[-2] == places.length, path


def test_what_has_rows_for_places_says_so():
    """Every array whose name speaks of positions, unless its shape tells the grid."""
    for case in CASES:
        model = built(case)
        knows = isinstance(model, contract.KnowsPlaces)
        told = set(model.places()) if knows else set()
        for path, leaf in flax.traverse_util.flatten_dict(
            shapes(case), sep="/"
        ).items():
            rows_alone = leaf.ndim < 3 or leaf.shape[0] == 1
            if "pos" in path.rpartition("/")[2] and rows_alone:
                assert path in told, (case, path)


def test_there_is_a_model_of_each_kind():
    for protocol in (
        contract.Drawable,
        contract.RoutesPatches,
        contract.Prunes,
        contract.Retrieves,
        contract.SelectsTokens,
        contract.Layered,
        contract.Crops,
        contract.KnowsPlaces,
        contract.HasBackbone,
    ):
        assert names_of(protocol), protocol
    assert set(models.names()) == {*SMALL, *ELSEWHERE}


FLAX_NAMES = {"kernel", "bias", "scale", "embedding"}  # of its own layers' parameters
# Words that stand for something else in training: a role in retrieval, keys of `aux`, a
# profile of imbalance.
OTHER_MEANINGS = {"query", "threshold", "linear", "reduction"}


def constants(path: pathlib.Path) -> set[str]:
    """Return the strings of a module, its docstrings left out."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    loose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in loose
    }


def test_training_knows_no_parameter_of_a_model():
    parts = {
        part
        for case in CASES
        for path in flax.traverse_util.flatten_dict(shapes(case)["params"])
        for part in path
    }
    assert {"cv_embed", "sdtps", "predictors_0", "classifier_fused"} <= parts
    names = parts - FLAX_NAMES - OTHER_MEANINGS - set(contract.GROUPS)
    root = pathlib.Path(training.__file__).parent
    # The settings' choices are words that a layer may have for a name.
    sources = [p for p in root.rglob("*.py") if p.parent != root / "settings"]
    assert len(sources) > 30
    found = {path: names & constants(path) for path in sources}
    assert not any(found.values()), {path: at for path, at in found.items() if at}
    for path in sources:
        assert "hasattr(model" not in path.read_text(), path
        assert "getattr(model" not in path.read_text(), path
