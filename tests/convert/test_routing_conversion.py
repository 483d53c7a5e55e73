"""Routing models' weights in and out, by the PyTorch program's own state_dict."""

import jax
import numpy as np
import pytest
import safetensors.numpy
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models
from tokenjax.convert.command import convert as convert_file

torch = pytest.importorskip("torch")

from references import pytorch_routing  # noqa: E402  after torch is known to be there

# Patches of 2 x 2 pixels in 3 channels, no two sizes alike: a wrong turn is seen.
SMALL = {
    "img_size": 6,
    "patch_grid": 3,
    "num_classes": 5,
    "encoder_channels": 4,
    "encoder_layers": 1,
    "big_hidden_dim": 11,
    "big_layers": 2,
    "small_hidden_dim": 7,
    "embed_dim": 8,
    "aggregator_dim": 10,
    "head_hidden_dim": 9,
}
CASES = {
    "threshold": ("attention_routing", {}),
    "sigmoid_gate": (
        "attention_routing",
        {
            "router": "sigmoid_gate",
            "attention": "global",
            "attention_layers": 2,
            "aggregator": "mean",
        },
    ),
    "top_k": (
        "attention_routing",
        {"router": "top_k", "aggregator": "attention", "attention_scale": 10.0},
    ),
    "lean": (
        "attention_routing",
        {"encoder": "lean", "img_size": 12, "encoder_layers": 2},
    ),
    "no_hidden_layers": ("attention_routing", {"big_layers": 0, "small_layers": 0}),
    "full_compute": ("full_compute", {}),
    "cheap_compute": ("cheap_compute", {}),
    "no_routing": ("no_routing", {}),
}
HEAD = "attention.attention_net."


def make(case):
    """Our model, the program of it, and that program's own weights."""
    name, more = CASES[case]
    model = models.create(name, **SMALL | more, dropout=0.0, execution="masked")
    torch.manual_seed(0)
    program = getattr(pytorch_routing, type(model).__name__)(model)
    for module in program.modules():  # statistics that are nowhere at their start
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    return model, program.eval()


def as_ours(model, program):
    """The program's state_dict, with the scoring head that only our baselines have."""
    state = {key: value.numpy() for key, value in program.state_dict().items()}
    own = convert.to_torch(model, drawn_variables(model, *model.example_inputs(1)))
    if type(model).__name__ in ("FullCompute", "CheapCompute"):
        state |= {key: value for key, value in own.items() if key.startswith(HEAD)}
    assert set(state) == set(own)
    return state


@pytest.mark.parametrize("case", CASES)
def test_a_program_and_ours_compute_the_same(case, assert_close):
    model, program = make(case)
    state = as_ours(model, program)
    variables = convert.from_torch(model, state)
    (example,) = model.example_inputs(8)
    images = np.asarray(jax.random.normal(jax.random.key(1), example.shape))
    logits, aux = jax.jit(model.apply)(variables, images)
    with torch.no_grad():
        found = program(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    if isinstance(found, tuple):
        found, mask, scores = found
        np.testing.assert_array_equal(aux["mask"], mask)
        assert_close(aux["attention_scores"], scores, 1e-5, "scores")
    assert_close(logits, found, 1e-5, "logits")


@pytest.mark.parametrize("case", CASES)
def test_weights_come_back_as_they_were(case):
    model, program = make(case)
    state = as_ours(model, program)
    back = convert.to_torch(model, convert.from_torch(model, state))
    for key, value in state.items():
        np.testing.assert_array_equal(back[key], value, err_msg=key)
    strict = {
        key: torch.from_numpy(value)
        for key, value in back.items()
        if key in program.state_dict()
    }
    assert set(back) - set(strict) <= {f"{HEAD}0.weight", f"{HEAD}0.bias"}
    program.load_state_dict(strict, strict=True)


def test_pixels_of_a_patch_are_turned():
    """Column (channel, row, column) there is row (row, column, channel) here."""
    model, program = make("threshold")
    variables = convert.from_torch(model, as_ours(model, program))
    weight = program.mlp_big.mlp[0].weight.detach().numpy().reshape(11, 3, 2, 2)
    kernel = variables["params"]["big"]["layers_0"]["kernel"].reshape(2, 2, 3, 11)
    for channel, row, column in np.ndindex(3, 2, 2):
        there, here = weight[:, channel, row, column], kernel[row, column, channel]
        np.testing.assert_array_equal(there, here)


def save(path, state):
    tensors = {key: np.array(value, order="C") for key, value in state.items()}
    safetensors.numpy.save_file(tensors, path)
    return str(path)


@pytest.mark.parametrize("case", ["threshold", "sigmoid_gate", "full_compute"])
def test_the_command_knows_the_sizes(tmp_path, case):
    """As the framework's file is: a baseline has no scoring head, one is drawn."""
    model, program = make(case)
    state = {key: value.numpy() for key, value in program.state_dict().items()}
    path = save(tmp_path / "best.safetensors", state)
    name, more = CASES[case]
    given = {key: value for key, value in more.items() if key == "aggregator"}
    found = convert_file(name, path, given)
    again = models.create(name, **found.facts.arguments)
    unsaid = {"threshold", "dropout", "execution", "dtype"}
    for key in models.arguments(name).keys() - unsaid:
        if case != "full_compute" or not key.startswith("small_"):
            assert getattr(again, key) == getattr(model, key), key
    drawn = "new, drawn at random: attention.attention_net.0.bias" in "\n".join(
        found.lines
    )
    assert drawn == (case == "full_compute")
    back = convert.to_torch(again, found.variables)
    for key, value in state.items():
        np.testing.assert_array_equal(back[key], value, err_msg=key)


def test_the_later_files_names_are_known(tmp_path):
    model, program = make("threshold")
    state = as_ours(model, program)
    later = {
        key.replace("task_head.classifier.", "task_head."): value
        for key, value in state.items()
    }
    assert set(later) != set(state)
    found = convert.from_torch(model, later)
    jax.tree.map(np.testing.assert_array_equal, found, convert.from_torch(model, state))
    later["aggregator.weights"] = np.ones(9, np.float32)  # nothing there reads it
    path = save(tmp_path / "later.safetensors", later)
    assert (
        "left out: aggregator.weights"
        in convert_file("attention_routing", path, {}).lines
    )


def test_what_is_missing_is_named():
    model, program = make("threshold")
    state = as_ours(model, program)
    del state["router.threshold"]
    state["router.weight"] = np.float32(1.0)
    with pytest.raises(convert.ConversionError) as caught:
        convert.from_torch(model, state)
    assert "missing: router.threshold" in str(caught.value)
    assert "unexpected: router.weight" in str(caught.value)
