"""What a peer is held to: timm's recorded numbers, training, its published size."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import backbone_checks
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models


def recorded_case(name, case):
    """(case, model, variables, images) of a recorded case of a registry name."""
    model = models.create(name, **case.meta["constructor_args"])
    variables = convert.from_torch(model, case.group("state"))
    return case, model, variables, case["input/images"].transpose(0, 2, 3, 1)


def logits_and_gradients(case, model, variables, images, assert_close):
    """Against those recorded; of a model without batch statistics."""

    def loss(variables):
        logits, aux = model.apply(variables, images)
        return jnp.sum(logits * case["input/weights"]), (logits, aux)

    found, (logits, aux) = jax.jit(jax.grad(loss, has_aux=True))(variables)
    assert aux == {"losses": {}}
    assert logits.dtype == jnp.float32
    tolerance = backbone_checks.OUTPUT_TOLERANCE
    assert_close(logits, case["output/logits"], tolerance, "logits")
    by_key, expected = convert.to_torch(model, found), case.group("grad")
    assert set(by_key) == set(expected)
    tolerance = backbone_checks.GRADIENT_TOLERANCE
    for key, wanted in expected.items():
        assert_close(by_key[key], wanted, tolerance, key)


def trains(model):
    """Draws differ by key, inference draws nothing, all gradients are finite."""
    variables = drawn_variables(model, *model.example_inputs(1))
    shape = model.example_inputs(3)[0].shape
    images = jax.random.normal(jax.random.key(1), shape)

    def loss(variables, key):
        rngs = {"dropout": key}
        logits, aux = model.apply(variables, images, train=True, rngs=rngs)
        assert aux == {"losses": {}}
        return jnp.sum(jnp.sin(logits)), logits

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    found, first = gradient(variables, jax.random.key(2))
    _, second = gradient(variables, jax.random.key(3))
    assert np.abs(first - second).max() > 1e-4
    for path, leaf in jax.tree.leaves_with_path(found):
        assert np.isfinite(leaf).all(), path
