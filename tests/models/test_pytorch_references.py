"""The systems' PyTorch programs against the recorded originals and against ours.

Those of DeMo against the recorded ones: test_pytorch_demo.py.
"""

import functools

import jax
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.small_models import small, small_demo

from tokenjax import convert, models

torch = pytest.importorskip("torch")

from helpers.reference_programs import (  # noqa: E402
    check_gradients,
    inputs_of,
    loaded,
    program_of,
    tensor,
)

from references import pytorch_vdpa, pytorch_vit  # noqa: E402

OUTPUT, GRADIENT = 1e-5, 1e-4
UNPRUNED = {"predictor": "linear", "pruning": "none"}
PRUNED = {"predictor": "linear", "pruning": "inference"}
CLASSIFIERS = {
    "vdpa/model": ("vdpa", {}),
    "cifar_vit/vit": ("vit", {}),
    "cifar_vit/dynamic_vit_full": ("dynamic_vit", UNPRUNED),
    "cifar_vit/dynamic_vit_pruned": ("dynamic_vit", PRUNED),
    "cifar_vit/dynamic_vit_pruned_default_rates": ("dynamic_vit", PRUNED),
}
CONVERTED = {
    "vdpa": functools.partial(small, "vdpa"),
    "vit": functools.partial(small, "vit"),
    "dynamic_vit": functools.partial(small, "dynamic_vit", depth=3),
    "demo": small_demo,
    "demo_join": functools.partial(
        small_demo, sdtps_class_token=True, sdtps_join="reduced_tokens"
    ),
}
TRAINED = CONVERTED | {
    "vdpa_dropout": functools.partial(small, "vdpa_dropout"),
    "dynamic_vit_linear": functools.partial(small, "dynamic_vit_linear"),
    "demo_gumbel": functools.partial(small_demo, sdtps_use_gumbel=True),
    "demo_hdm_atm": functools.partial(small_demo, fusion="hdm_atm", direct=False),
    "demo_baseline": functools.partial(small_demo, fusion="none"),
}


def recorded_classifier(case, name):
    known = models.argument_names(name)
    arguments = case.meta["constructor_args"]
    arguments = arguments.get("model", arguments)
    return {key: value for key, value in arguments.items() if key in known}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_recorded_classifiers(golden, assert_close, name):
    case, (model_name, more) = golden(name), CLASSIFIERS[name]
    arguments = recorded_classifier(case, model_name)
    model = models.create(model_name, **arguments, **more)
    program = loaded(program_of(model), case.group("state"))
    counts = []
    for block in program.blocks:
        block.register_forward_pre_hook(lambda _, given: counts.append(given[0].shape))
    (images,) = inputs_of(case, "images")
    logits = program(images)
    assert_close(logits.detach(), case["output/logits"], OUTPUT, "logits")
    (logits * tensor(case["input/cotangent"])).sum().backward()
    assert_close(images.grad, case["grad_input/images"], GRADIENT, "images")
    check_gradients(case, program, assert_close)
    if "output/token_counts" in case.arrays:  # they are gone, not masked
        found = [shape[1] - 1 for shape in counts[1:]]
        assert found == case["output/token_counts"].tolist()


def test_recorded_steps_of_vdpa(golden, assert_close):
    case = golden("vdpa/model")
    model = models.create("vdpa", **recorded_classifier(case, "vdpa"))
    program, seen = loaded(program_of(model), case.group("state")), {}
    steps = {"patch_tokens": "patch_embed", "norm_tokens": "norm"}
    steps |= {name.replace(".", "_"): name for name in ("blocks.0", "blocks.1")}
    steps |= {f"block_0_{name}": f"blocks.0.{name}" for name in ("stk", "lga")}
    steps["block_0_alpha"] = "blocks.0.vdfc"
    for key, name in steps.items():
        key = key.replace("blocks", "block")
        program.get_submodule(name).register_forward_hook(
            lambda _, given, output, key=key: seen.update({key: output})
        )
    with torch.no_grad():
        program(tensor(case["input/images"]))
    for key, output in seen.items():
        assert_close(output, case[f"output/{key}"], OUTPUT, key)

    case = golden("vdpa/alp")
    tokens, neighbors = tensor(case["input/tokens"]), tensor(case["input/neighbor_idx"])
    pooled = pytorch_vdpa.adaptive_local_pooling(tokens, neighbors, 1.0)
    assert_close(pooled, case["output/class_token"], OUTPUT, "class token")
    tables = golden("vdpa/grid_neighbors").group("output")
    for grid in (2, 3, 4):
        table = pytorch_vdpa.grid_neighbors(grid, 9)
        np.testing.assert_array_equal(table, tables[f"table_grid{grid}_k9"])


@pytest.mark.parametrize("name", ["vdpa/train_adamw", "cifar_vit/train_vit"])
def test_states_of_training_runs_fit(golden, name):
    case = golden(name)
    model_name = "vdpa" if name.startswith("vdpa") else "vit"
    model = models.create(model_name, **recorded_classifier(case, model_name))
    program = loaded(program_of(model), case.group("state"))
    kept = program.state_dict()
    for key, array in case.group("state").items():
        np.testing.assert_array_equal(kept[key], array, err_msg=key)


def test_masked_tokens_are_as_good_as_gone(assert_close):
    attention = pytorch_vit.Attention(16, 2, 0.0, 0.0)
    tokens = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    left = [0, 2, 3, 7]
    keep = torch.zeros(2, 9).index_fill(1, torch.tensor(left), 1.0)
    with torch.no_grad():
        masked, gone = attention(tokens, keep)[:, left], attention(tokens[:, left])
    assert_close(masked, gone, OUTPUT, "kept")


@functools.cache
def converted(name):
    """A model, random variables, inputs by their side and by PyTorch's."""
    model = TRAINED[name]()
    example = model.example_inputs(3)
    variables = drawn_variables(model, *example)
    generator = np.random.default_rng(1)
    inputs = jax.tree.map(lambda x: np.float32(generator.normal(size=x.shape)), example)
    theirs = jax.tree.map(lambda x: tensor(np.moveaxis(x, -1, 1)), inputs[0])
    if len(inputs) == 1:
        return model, variables, inputs, (theirs,)
    cameras = np.array([2, 0, 1])
    return model, variables, (inputs[0], cameras), (theirs, tensor(cameras))


@pytest.mark.long
@pytest.mark.parametrize("name", CONVERTED)
def test_ours_agree(assert_close, name):
    model, variables, inputs, theirs = converted(name)
    program = loaded(program_of(model), convert.to_torch(model, variables))
    back = convert.from_torch(model, program.state_dict())
    jax.tree.map(np.testing.assert_array_equal, variables, back)

    def apply(variables, *inputs):
        outputs = model.apply(variables, *inputs)
        return outputs["features"] if isinstance(outputs, dict) else outputs[0]

    outputs = jax.jit(apply)(variables, *inputs)
    with torch.no_grad():
        expected = program(*theirs)
    if not isinstance(expected, dict):
        outputs, expected = {"logits": outputs}, {"logits": expected}
    for key, leaf in expected.items():
        assert_close(outputs[key], leaf, OUTPUT, key)


@pytest.mark.parametrize("name", TRAINED)
def test_training_reaches_all(name):
    model, variables, _, theirs = converted(name)
    program = loaded(program_of(model), convert.to_torch(model, variables)).train()
    torch.manual_seed(0)
    outputs = program(*theirs)
    if isinstance(outputs, dict):
        outputs = torch.cat([leaf for pair in outputs.values() for leaf in pair], dim=1)
    outputs.sin().sum().backward()
    for key, leaf in program.named_parameters():
        if key.startswith("predictors.3") or not leaf.requires_grad:
            assert leaf.grad is None, key  # the last block's predictor is never asked
        else:
            assert leaf.grad.isfinite().all(), key


@pytest.mark.parametrize(
    ("name", "arguments", "parameters"),
    [
        ("vdpa", {"embed_dim": 512}, 32_525_926),
        ("vdpa", {}, 72_340_838),
        ("cifar_vit_tiny", {}, 5_362_762),
        ("cifar_vit_base", {}, 18_979_338),
        (
            "dynamic_vit",
            {"embed_dim": 384, "num_heads": 6, "predictor": "linear"},
            10_697_872,
        ),
        ("demo", {}, 88_620_645),
        ("demo", {"fusion": "hdm_atm"}, 98_798_080),
    ],
)
def test_the_real_sizes(name, arguments, parameters):
    with torch.device("meta"):
        program = program_of(models.create(name, **arguments))
    assert sum(leaf.numel() for leaf in program.parameters()) == parameters


def test_what_the_originals_lack():
    for model in (
        small("vdpa_soft_topk"),
        small("vit_patch_dropout"),
        small_demo(mask_aggregation="policy"),
        small_demo(transformer_type="vit_base_patch16_224", feat_dim=16),
    ):
        with pytest.raises(ValueError, match=r"original|this program"):
            program_of(model)
