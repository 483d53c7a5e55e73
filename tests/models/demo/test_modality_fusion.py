"""HDM and ATMoE against the recorded ones, and what they must do by themselves."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import convert
from tokenjax.convert.mapping import apply_table, invert_table
from tokenjax.convert.tables import table_for
from tokenjax.errors import UserError
from tokenjax.models.demo.modality_fusion import GeneralFusion, modality_parts

NAMES = ("rgb", "nir", "tir")


def small(**more):
    return GeneralFusion(**{"feat_dim": 64, "head": 4, "dropout": 0.0, **more})


def recorded(case):
    arguments = case.meta["constructor_args"]
    return small(feat_dim=arguments["feat_dim"], atm=arguments["ATM"])


def sequences_of(arrays):
    return {
        name: jnp.concatenate(
            [arrays[f"global_{name}"][:, None], arrays[f"tokens_{name}"]], axis=1
        )
        for name in NAMES
    }


@pytest.mark.parametrize(
    "name", ["fusion_hdm", "fusion_hdm_atm", "fusion_hdm_atm_train"]
)
def test_agrees_with_the_recorded_one(golden, assert_close, name):
    case = golden(f"demo/{name}")
    model, train = recorded(case), case.meta["constructor_args"]["train"]
    variables = convert.from_torch(model, case.group("state"))
    statistics = {k: v for k, v in variables.items() if k != "params"}
    inputs = case.group("input")
    cotangent = inputs.pop("cotangent")

    @jax.jit
    def run(params, inputs):
        def loss(params, inputs):
            (fused, aux), changed = model.apply(
                {"params": params, **statistics},
                sequences_of(inputs),
                train=train,
                mutable=["batch_stats"] if train else [],
            )
            return (fused * cotangent).sum(), (fused, aux, changed)

        gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
        return gradient(params, inputs)

    (gradient, input_gradient), (fused, aux, changed) = run(variables["params"], inputs)
    for key, expected in case.group("output").items():
        actual = {"fused": fused, **aux}[key]
        assert_close(actual, expected, 1e-5, key)

    ours = convert.to_torch(model, gradient)
    scale = np.mean([np.linalg.norm(g) for g in case.group("grad").values()])
    for key, expected in case.group("grad").items():
        actual = ours[key]
        if key.endswith("in_proj_bias"):  # the key's third is 0 but for rounding
            third = slice(len(actual) // 3, 2 * len(actual) // 3)
            assert not actual[third].any()
            assert np.abs(expected[third]).max() < 1e-5 * scale
            actual[third] = expected[third]
        floor = 1e-6 * scale / max(np.linalg.norm(expected), 1e-30)
        assert_close(actual, expected, 1e-4 + floor, key)
    for key, expected in case.group("grad_input").items():
        assert_close(input_gradient[key], expected, 1e-4, key)

    after = case.group("state_after")
    if train:
        state = convert.to_torch(model, {**variables, **changed})
        assert after
        for key, expected in after.items():
            if not key.endswith("num_batches_tracked"):
                assert_close(state[key], expected, 1e-5, key)


@pytest.mark.parametrize("name", ["fusion_hdm", "fusion_hdm_atm"])
def test_conversion_is_exact(golden, name):
    case = golden(f"demo/{name}")
    model, state = recorded(case), case.group("state")
    variables = convert.from_torch(model, state)
    back = convert.to_torch(model, variables)
    assert set(back) == set(state)
    for key, expected in state.items():
        assert back[key].dtype == expected.dtype
        if key.endswith("num_batches_tracked"):
            assert back[key] == 0
        else:
            np.testing.assert_array_equal(back[key], expected)
    parameters = [key for key in state if "running" not in key and "num_" not in key]
    assert set(convert.to_torch(model, variables["params"])) == set(parameters)


def test_conversion_takes_states_without_counters_and_no_others(golden):
    case = golden("demo/fusion_hdm_atm")
    model, state = recorded(case), case.group("state")
    without = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(without) < len(state)
    convert.from_torch(model, without)
    expert = "moe.experts.1.expertHead.2.mlp.0.weight"
    without["moe.num_batches_tracked"] = np.array(1)
    without[expert] = without[expert][:, 1:]
    with pytest.raises(convert.ConversionError) as caught:
        convert.from_torch(model, without)
    assert "unexpected: moe.num_batches_tracked" in str(caught.value)
    assert f"wrong shape: {expert} is (16, 15)" in str(caught.value)


def test_a_table_that_leaves_a_part_of_a_stack_is_refused(golden):
    case = golden("demo/fusion_hdm_atm")
    model = recorded(case)
    table = table_for(model)
    stacked = next(e for e in table.entries if e.part)
    rest = tuple(entry for entry in table.entries if entry != stacked)
    state = case.group("state")
    variables = apply_table(table, model, state)
    del state[stacked.torch_key]
    with pytest.raises(AssertionError, match="disagree"):
        apply_table(dataclasses.replace(table, entries=rest), model, state)
    assert stacked.torch_key in invert_table(table, variables)


def test_parts_come_singles_first():
    assert list(modality_parts(NAMES)) == ["r", "n", "t", "rn", "rt", "nt", "rnt"]
    assert modality_parts(NAMES)["rt"] == ("rgb", "tir")


def test_a_part_sees_its_own_modalities_and_gates_sum_to_one():
    model = small()
    key = jax.random.key(0)
    sequences = {
        name: jax.random.normal(jax.random.fold_in(key, i), (2, 3, 64))
        for i, name in enumerate(NAMES)
    }
    apply = jax.jit(model.apply)
    variables = jax.jit(model.init)(key, sequences)
    _, aux = apply(variables, sequences)
    _, changed = apply(variables, {**sequences, "nir": 2 * sequences["nir"]})
    moved = np.any(np.asarray(aux["decoupled"] != changed["decoupled"]), axis=(0, 2))
    assert list(moved) == ["n" in part for part in modality_parts(NAMES)]
    np.testing.assert_allclose(aux["gates"].sum(-1), 1, rtol=1e-5)
    assert aux["gates"].shape == (2, 4, 7)


def test_dropout_acts_in_training_alone_and_has_the_right_mean():
    model = small(atm=False, dropout=0.5)
    sequences = {name: jnp.ones((64, 20, 64)) for name in NAMES}
    variables = jax.jit(model.init)(jax.random.key(0), sequences)
    kept, _ = jax.jit(model.apply)(variables, sequences)
    training = functools.partial(model.apply, train=True)
    rngs = {"dropout": jax.random.key(1)}
    dropped, aux = jax.jit(training)(variables, sequences, rngs=rngs)
    share = np.mean(np.asarray(aux["attention"]["rnt"]) == 0)
    assert share == pytest.approx(0.5, abs=0.05)
    # Equal tokens: the output is that value times the sum of the weights, mean 1.
    assert np.abs(dropped - kept).max() > 1e-2
    ratio = float(jnp.vdot(dropped, kept) / jnp.vdot(kept, kept))
    assert ratio == pytest.approx(1, abs=0.05)


def test_half_precision_stays_near(golden, assert_close):
    case = golden("demo/fusion_hdm_atm")
    model = dataclasses.replace(recorded(case), dtype="bfloat16")
    variables = convert.from_torch(model, case.group("state"))
    fused, _ = jax.jit(model.apply)(variables, sequences_of(case.group("input")))
    assert fused.dtype == jnp.bfloat16
    assert_close(fused.astype(jnp.float32), case["output/fused"], 3e-2)


@pytest.mark.parametrize(
    "wrong",
    [{"hdm": False}, {"head": 5}, {"feat_dim": 32}, {"modalities": ("nir", "night")}],
)
def test_arguments_that_do_not_fit_are_refused(wrong):
    with pytest.raises(UserError, match="GeneralFusion"):
        small(**wrong)


def test_wrong_modalities_are_refused():
    with pytest.raises(ValueError, match="rgb"):
        small().init(jax.random.key(0), {"rgb": jnp.zeros((1, 2, 64))})
