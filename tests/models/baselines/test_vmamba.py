"""VMamba: recorded outputs and gradients, keys, arguments, sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models
from tokenjax.models.baselines import vmamba
from tokenjax.models.baselines.vmamba import VMamba

SMALL = {
    "img_size": 16,
    "num_classes": 5,
    "depths": (1, 1),
    "dims": 8,
    "ssm_d_state": 1,
    "mlp_ratio": 2.0,
}


@pytest.fixture(scope="module")
def case(golden):
    return golden("peers/vmamba")


def test_outputs_and_gradients(case, assert_close):
    model = VMamba(**case.meta["constructor_args"])
    variables = convert.from_torch(model, case.group("state"))
    images = case["input/images"].transpose(0, 2, 3, 1)

    def loss(params):
        logits, _ = model.apply({"params": params}, images)
        return jnp.sum(logits * case["input/weights"]), logits

    gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    assert_close(logits, case["output/logits"], 1e-5, "logits")
    found, expected = convert.to_torch(model, gradients), case.group("grad")
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        assert_close(found[name], gradient, 1e-4, name)


def test_conversion_is_a_round_trip(case):
    model = VMamba(**case.meta["constructor_args"])
    state = case.group("state")
    back = convert.to_torch(model, convert.from_torch(model, state))
    assert set(back) == set(state)
    for key, array in state.items():
        np.testing.assert_array_equal(back[key], array, key)


def test_training_draws_and_its_gradients_are_finite():
    rates = {"drop_path_rate": 0.5, "ssm_drop_rate": 0.1, "mlp_drop_rate": 0.1}
    model = VMamba(**SMALL | rates)
    images = np.random.default_rng(1).normal(size=(2, 16, 16, 3))
    variables = drawn_variables(model, images)

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def step(params, seed):
        rngs = {"dropout": jax.random.key(seed)}
        logits, aux = model.apply({"params": params}, images, train=True, rngs=rngs)
        return jnp.sum(logits**2), aux

    (first, aux), gradients = step(variables["params"], 0)
    (second, _), _ = step(variables["params"], 1)
    assert aux == {"losses": {}}
    assert first != second
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.long  # a real size, traced
def test_the_published_size():
    """VMamba-T[s1l8]: 30.25 million parameters; images need not be of `img_size`."""
    model = models.create("vmamba_tiny")
    (images,) = model.example_inputs(1)
    assert images.shape == (1, 224, 224, 3)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 30_249_064
    odd = jax.ShapeDtypeStruct((2, 225, 97, 3), jnp.float32)
    logits, _ = jax.eval_shape(model.apply, variables, odd)
    assert logits.shape == (2, 1000)


def test_initial_scan():
    """Steps between a thousandth and a tenth, rates 1, 2, ... over the states."""
    steps = jax.nn.softplus(vmamba.step_bias_init(jax.random.key(0), (4, 100)))
    assert 0.00099 < steps.min() < 0.005 < 0.05 < steps.max() < 0.101
    rates = np.exp(vmamba.rate_init(jax.random.key(0), (4, 2, 3)))
    np.testing.assert_allclose(rates[3], [[1, 2, 3], [1, 2, 3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"dims": (8, 16, 32)}, "dims must be one number, or one for each of the 2"),
        ({"depths": ()}, "depths must have a stage"),
        ({"depths": (1, 0)}, "depths must be at least 1"),
        ({"dims": 1}, "dims must be at least 2"),
        ({"ssm_ratio": 0.1}, "must leave at least one channel"),
        ({"ssm_dt_rank": "large"}, r"ssm_dt_rank must be int \| auto, got 'large'"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate must be within \[0, 1\)"),
        ({"ssm_d_state": 0}, "ssm_d_state must be at least 1"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        VMamba(**SMALL | arguments)


def test_bad_images():
    model = VMamba(**SMALL)
    for shape in ((1, 16, 16, 1), (16, 16, 3)):
        with pytest.raises(ValueError, match="takes images"):
            jax.eval_shape(
                model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)
            )
