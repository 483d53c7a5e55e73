"""What both backbones are held to, given a small one and its inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax import convert

OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4


@functools.cache
def start(model, batch=2):
    """(variables, images) from drawn numbers."""
    example = model.example_inputs(batch)
    variables = jax.jit(model.init)(jax.random.key(0), *example)
    return variables, jax.random.normal(jax.random.key(1), example[0].shape)


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

    @jax.jit
    def gradient(variables):
        def loss(variables):
            rngs = {"dropout": jax.random.key(2)}
            tokens, aux = model.apply(variables, images, *more, train=True, rngs=rngs)
            assert aux["losses"] == {}
            return jnp.sum(jnp.sin(tokens))

        return jax.grad(loss)(variables)

    for path, leaf in jax.tree.leaves_with_path(gradient(variables)):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


def bfloat16_is_close(model, more=()):
    """And parameters stay float32."""
    half = model.clone(dtype="bfloat16")
    variables, images = start(model)
    dtypes = jax.tree.map(lambda leaf: leaf.dtype, start(half)[0])
    assert set(jax.tree.leaves(dtypes)) == {jnp.dtype("float32")}
    exact, coarse = (
        jax.jit(m.apply)(variables, images, *more)[0] for m in (model, half)
    )
    assert coarse.dtype == jnp.float32
    error = np.abs(coarse - exact).max()
    assert 0 < error < 0.05 * np.abs(exact).max()


def remat_changes_nothing(model, more=()):
    """Neither outputs nor gradients, with dropout drawn alike."""
    variables, images = start(model)

    def loss(model, variables):
        rngs = {"dropout": jax.random.key(2)}
        tokens, _ = model.apply(variables, images, *more, train=True, rngs=rngs)
        return jnp.sum(jnp.sin(tokens))

    plain, again = (
        jax.jit(jax.value_and_grad(functools.partial(loss, m)))(variables)
        for m in (model, model.clone(remat=True))
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
    _, without = model.apply(variables, images, *more)
    _, aux = model.clone(return_intermediate=True).apply(variables, images, *more)
    assert set(without) == set(aux) == {"losses", *keys}
    assert all(without[key] is None and aux[key] is not None for key in keys)


def number_of_parameters(model):
    """Without making any."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs(1))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))
