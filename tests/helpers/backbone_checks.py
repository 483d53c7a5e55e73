"""What both backbones are held to, given a small one and its inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from helpers.accelerators import hold_to_accelerators
from helpers.drawn_variables import drawn_variables

from tokenjax import convert

OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4


@functools.cache
def start(model, batch=2):
    """Return drawn (variables, images); what is fixed is as the model makes it."""
    example = model.example_inputs(batch)
    variables = drawn_variables(model, *example)
    if "constants" in variables:

        def constants(key):
            return model.init(key, *example)["constants"]

        variables |= {"constants": jax.jit(constants)(jax.random.key(0))}
    return variables, jax.random.normal(jax.random.key(1), example[0].shape)


@functools.cache
def apply(model):
    """Return the model's inference as one program, to be called with its inputs."""
    return jax.jit(model.apply)


@functools.cache
def training_gradient(model):
    """(variables, images, *more) -> sum of sines of the tokens, and its gradient."""

    def loss(variables, images, *more):
        rngs = {"dropout": jax.random.key(2)}
        tokens, aux = model.apply(variables, images, *more, train=True, rngs=rngs)
        assert aux["losses"] == {}
        return jnp.sum(jnp.sin(tokens))

    return jax.jit(jax.value_and_grad(loss))


def parity_of_gradients(case, model, variables, inputs, recorded_names, assert_close):
    """Of all parameters, and of the inputs with a recorded gradient."""

    def loss(variables, *differentiable):
        rest = inputs[len(differentiable) :]
        tokens, _ = model.apply(variables, *differentiable, *rest)
        return jnp.sum(tokens * case["input/cotangent"])

    numbers = tuple(range(1 + len(recorded_names)))
    gradient = jax.jit(jax.grad(loss, numbers))
    found, *of_inputs = gradient(variables, *inputs[: len(recorded_names)])
    for name, actual in zip(recorded_names, of_inputs, strict=True):
        expected = case[f"grad_input/{name}"]
        if name == "images":
            expected = expected.transpose(0, 2, 3, 1)
        assert_close(actual, expected, GRADIENT_TOLERANCE, name)
    by_key, expected = convert.to_torch(model, found), case.group("grad")
    assert set(by_key) == set(expected)
    for key, gradient in expected.items():
        assert_close(by_key[key], gradient, GRADIENT_TOLERANCE, key)


def conversion_is_exact(case, model):
    """Both ways, bit by bit."""
    state = case.group("state")
    back = convert.to_torch(model, convert.from_torch(model, state))
    assert set(back) == set(state)
    for key, expected in state.items():
        np.testing.assert_array_equal(back[key], expected, err_msg=key)


def finite_gradients_reach_all(model, more=()):
    """In training, every parameter; `more` are the inputs after the images."""
    variables, images = start(model)
    program = training_gradient(model)
    _, gradients = program(variables, images, *more)
    hold_to_accelerators(program, variables, images, *more)
    for path, leaf in jax.tree.leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


def bfloat16_is_close(model, more=()):
    """And parameters stay float32."""
    half = model.clone(dtype="bfloat16")
    variables, images = start(model)
    types = jax.eval_shape(half.init, jax.random.key(0), images, *more)
    assert {leaf.dtype for leaf in jax.tree.leaves(types)} == {jnp.dtype("float32")}
    exact, coarse = (apply(m)(variables, images, *more)[0] for m in (model, half))
    assert coarse.dtype == jnp.float32
    for program in apply(model), apply(half):
        hold_to_accelerators(program, variables, images, *more)
    error = np.abs(coarse - exact).max()
    assert 0 < error < 0.05 * np.abs(exact).max()


def remat_changes_nothing(model, more=()):
    """Neither outputs nor gradients, with dropout drawn alike."""
    inputs = (*start(model), *more)
    plain, again = (
        training_gradient(m)(*inputs) for m in (model, model.clone(remat=True))
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, plain, again)


def compiles_once_per_shape(model, more=lambda batch: ()):
    """`more` makes the inputs after the images."""
    variables, images = start(model, batch=3)
    traces = []

    @jax.jit
    def apply(variables, images, *more):
        traces.append(images.shape)
        return model.apply(variables, images, *more)[0]

    for batch in (1, 2, 1, 2, 2):
        tokens = apply(variables, images[:batch], *more(batch))
        patches = model.grid[0] * model.grid[1]
        assert tokens.shape == (batch, 1 + patches, model.feature_dim)
    assert len(traces) == 2


def intermediates_are_asked_for(model, keys, more=()):
    """The same keys either way, None unless asked for."""
    variables, images = start(model)
    asking = model.clone(return_intermediate=True)
    _, without = jax.eval_shape(model.apply, variables, images, *more)
    _, aux = jax.eval_shape(asking.apply, variables, images, *more)
    assert set(without) == set(aux) == {"losses", "reduction", *keys}
    assert all(without[key] is None and aux[key] is not None for key in keys)


def number_of_parameters(model):
    """Without making any."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs(1))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))
