"""Good weights in whatever trainers wrap them: read back equal, or refused with why.

Skipped where torch is not installed.
"""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax import convert
from tokenjax.convert.checkpoint_files import read_state_dict
from tokenjax.convert.mapping import as_arrays, unwrap
from tokenjax.convert.tables import table_for
from tokenjax.convert.wrapped_states import find_state

torch = pytest.importorskip("torch", minversion="2.10")

ENDINGS = [
    ".pth",
    ".pt",
    ".bin",
    ".ckpt",
    ".tar",
    ".pth.tar",
    ".pkl",
    ".PTH",
    ".v2",
    "",
]
NAMES = [
    *("state_dict", "model_state_dict", "model", "module", "net", "network"),
    *("weights", "model_weights", "params", "model_state", "backbone", "encoder"),
    *("student", "teacher", "model_ema", "state_dict_ema", "ema", "params_ema"),
    *("shadow", "swa_model", "my_vit"),
]
PREFIXES = [
    *("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder."),
    *(
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.backbone.encoder.",
        "vit.",
        "x.",
    ),
]


def tensors(state, prefix=""):
    return {prefix + key: torch.from_numpy(array) for key, array in state.items()}


def optimizer_state(state):
    parameters = [torch.nn.Parameter(tensor) for tensor in tensors(state).values()]
    optimizer = torch.optim.AdamW(parameters)
    sum(parameter.sum() for parameter in parameters).backward()
    optimizer.step()
    return optimizer.state_dict()


def saved(directory, content, name="weights.pth", **options):
    torch.save(content, directory / name, **options)
    return directory / name


def assert_is(read, state):
    assert read.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(np.asarray(read[key]), array, err_msg=key)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("old", [False, True])
def test_every_wrapping_under_every_ending(tmp_path, state, ending, old):
    training = {"epoch": 3, "optimizer": optimizer_state(state), "scaler": None}
    for name in NAMES:
        content = training | {name: tensors(state)}
        path = saved(
            tmp_path, content, f"w{ending}", _use_new_zipfile_serialization=not old
        )
        assert_is(read_state_dict(path), state)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_as_far_as_the_models_keys_say(model, state, tmp_path, prefix):
    path = saved(tmp_path, {"state_dict": tensors(state, prefix)})
    back = convert.to_torch(model, convert.from_torch(model, read_state_dict(path)))
    assert_is(back, state)


@settings(deadline=None, max_examples=200)
@given(
    names=st.lists(st.sampled_from(NAMES), max_size=4),
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=4),
)
def test_any_nesting_reads_back(model, state, names, prefixes):
    content = tensors(state, "".join(prefixes))
    for name in names:
        content = {name: content, "epoch": 3, "args": {"lr": 0.1}}
    read = as_arrays(find_state(content, "w.pth"))
    assert_is(unwrap(table_for(model), read), state)


@pytest.mark.parametrize(
    "averaged",
    [
        lambda weights: {"model_ema": weights},
        lambda weights: {"state_dict_ema": weights},
        lambda weights: {"ema": {"module": weights, "updates": 3}},
        lambda weights: {"ema": {"decay": 0.99, "shadow": weights}},
        lambda weights: {"ema": {"decay": torch.tensor(0.99), "shadow": weights}},
        lambda weights: {"ema_weights": {"state_dict": weights}},
    ],
)
def test_averaged_weights_come_first_and_are_said(tmp_path, state, averaged, caplog):
    other = {key: array + 1 for key, array in state.items()}
    content = {"model": tensors(other)} | averaged(tensors(state))
    assert_is(read_state_dict(saved(tmp_path, content)), state)
    assert "are taken, not 'model'" in caplog.text


@pytest.mark.parametrize("nothing", [None, {}, {"decay": 0.9}, [], 0.999])
def test_averages_that_hold_nothing_are_passed_over(tmp_path, state, nothing, caplog):
    content = {"model": tensors(state), "model_ema": nothing}
    assert_is(read_state_dict(saved(tmp_path, content)), state)
    assert not caplog.records


def test_averages_without_names_are_passed_over_and_said(tmp_path, state, caplog):
    averages = {"decay": 0.9, "shadow_params": [*tensors(state).values()]}
    content = {"model": tensors(state), "ema": averages}
    assert_is(read_state_dict(saved(tmp_path, content)), state)
    assert "the averaged weights, 'ema', are passed over" in caplog.text


def test_the_teacher_is_taken_before_its_student_and_said(tmp_path, state, caplog):
    student = {key: array + 1 for key, array in state.items()}
    content = {"student": tensors(student), "teacher": tensors(state)}
    assert_is(read_state_dict(saved(tmp_path, content)), state)
    assert "'teacher', are taken, not 'student'" in caplog.text


@pytest.mark.parametrize(
    "names", [*itertools.combinations(["model", "teacher", "state_dict", "net"], 2)]
)
def test_where_nothing_decides_all_are_named(tmp_path, state, names):
    other = {key: array + 1 for key, array in state.items()}
    first, second = names
    path = saved(tmp_path, {first: tensors(state), second: tensors(other)})
    with pytest.raises(convert.ConversionError) as caught:
        read_state_dict(path)
    assert f"holds weights under {first!r}, {second!r}" in str(caught.value)
    assert_is(read_state_dict(path, key=first), state)
    assert_is(read_state_dict(path, key=second), other)
    same = saved(tmp_path, {first: tensors(state), second: tensors(state)})
    assert_is(read_state_dict(same), state)


def test_a_key_leads_to_a_part(tmp_path, state):
    other = {key: array + 1 for key, array in state.items()}
    content = {
        "generator": {"state_dict": tensors(state)},
        "critic": tensors(other),
        "both": {**tensors(state, "a.b."), **tensors(other, "c.")},
    }
    path = saved(tmp_path, content)
    with pytest.raises(convert.ConversionError, match="'generator', 'critic', 'both'"):
        read_state_dict(path)
    for key, expected in (
        ("generator", state),
        ("generator/state_dict", state),
        ("critic", other),
    ):
        assert_is(read_state_dict(path, key), expected)
    part = read_state_dict(path, "both/c.")
    assert_is(part, {f"c.{key}": array for key, array in other.items()})
    for key, parts in (
        ("decoder", "'a', 'c'"),
        ("nothing/at/all", "'both', 'critic', 'generator'"),
    ):
        wrong = key if "/" in key else f"both/{key}"
        with pytest.raises(convert.ConversionError) as caught:
            read_state_dict(path, wrong)
        assert f"its parts: {parts}" in str(caught.value)


def test_what_lies_beside_the_model_is_left_out_and_said(model, state, caplog):
    beside = {
        "criterion.pos_weight": np.ones(2, np.float32),
        "val_accuracy.total": np.array(3),
        "n_averaged": np.array(7),
    }
    wrapped = {f"model.{key}": array for key, array in state.items()}
    back = convert.to_torch(model, convert.from_torch(model, beside | wrapped))
    assert_is(back, state)
    assert "below 'model.': criterion.pos_weight, val_accuracy.total" in caplog.text
    assert "n_averaged" not in caplog.text
    with pytest.raises(convert.ConversionError, match=r"unexpected: criterion\.pos_w"):
        convert.from_torch(model, state | beside)
    with pytest.raises(convert.ConversionError, match=r"unexpected: criterion\.pos_w"):
        convert.from_torch(model, wrapped | {"model.criterion.pos_weight": np.ones(2)})


def test_the_counter_of_an_averaged_model(model, state, tmp_path, caplog):
    variables = convert.from_torch(model, state)

    class Holder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2))

    averaged = torch.optim.swa_utils.AveragedModel(Holder()).state_dict()
    assert averaged.keys() == {"n_averaged", "module.weight"}
    counter = {"n_averaged": averaged["n_averaged"]}
    path = saved(tmp_path, counter | tensors(state, "module."))
    read = convert.from_torch(model, read_state_dict(path))
    jax.tree.map(np.testing.assert_array_equal, read, variables)
    assert not caplog.records


@pytest.mark.parametrize("prefix", ["module.", "encoder.", "copy."])
def test_weights_that_are_there_twice_are_refused(model, state, prefix):
    again = {prefix + key: array for key, array in state.items()}
    with pytest.raises(convert.ConversionError, match="twice"):
        convert.from_torch(model, state | again)
    apart = {f"first.{key}": array for key, array in state.items()}
    with pytest.raises(convert.ConversionError, match="twice, below"):
        convert.from_torch(model, apart | again)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float64"]
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_every_float_is_widened_exactly(model, state, tmp_path, dtype, name):
    given = {k: t.to(getattr(torch, dtype)) for k, t in tensors(state).items()}
    path = tmp_path / name
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(given, path)
    else:
        torch.save({"model": given}, path)
    read = read_state_dict(path)
    back = convert.to_torch(model, convert.from_torch(model, read))
    assert_is(back, {key: tensor.float().numpy() for key, tensor in given.items()})
    assert as_arrays({"one": read["norm.bias"][0]})["one"].shape == ()


def test_other_tensors_than_plain_ones(model, state, tmp_path):
    given = {}
    for key, tensor in tensors(state).items():
        turned = tensor.transpose(0, -1).contiguous().transpose(0, -1)
        given[key] = torch.nn.Parameter(turned)
    assert not all(tensor.is_contiguous() for tensor in given.values())
    path = saved(tmp_path, given)
    back = convert.to_torch(model, convert.from_torch(model, read_state_dict(path)))
    assert_is(back, state)
    whole = {
        key: (tensor * 10).to(torch.int8) for key, tensor in tensors(state).items()
    }
    with pytest.raises(convert.ConversionError, match="wrong type: cls_token is int8"):
        convert.from_torch(model, read_state_dict(saved(tmp_path, whole)))
