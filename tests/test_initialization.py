"""New variables by a small program: the same numbers, and no forward pass in it."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small_models import SMALL

from tokenjax import models
from tokenjax.initialization import draw_alike_together


class Chained(nn.Module):
    """Blocks alike, a constant, a table closed over, and a key split by hand."""

    table: tuple = (3.0, 1.0, 4.0)

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.Dense(5, bias_init=nn.initializers.ones)(x)
        self.param("table", lambda key: jnp.asarray(np.array(self.table, np.float32)))
        self.param("pair", self._pair, (4,))
        self.param("scalar", lambda key: jnp.float32(7.5))
        return nn.Conv(4, (3, 3))(x[:, :, None, None])

    @staticmethod
    def _pair(key, shape):
        first, second = jax.random.split(key)
        return jax.random.normal(first, shape) * jax.random.uniform(second, shape)


def made_by(module, *example, key=None):
    """Variables as `init` makes them, by the small program, and that program."""
    key = jax.random.key(11) if key is None else key
    own = jax.jit(module.init)(key, *example)
    compiled = jax.jit(draw_alike_together(module.init)).lower(key, *example).compile()
    return own, compiled(key, *example), compiled.as_text()


def assert_equal(own, made):
    assert jax.tree.structure(own) == jax.tree.structure(made)
    for (path, a), b in zip(
        jax.tree.leaves_with_path(own), jax.tree.leaves(made), strict=True
    ):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), path
        np.testing.assert_array_equal(a, b, err_msg=str(path))


def test_every_number_is_the_same():
    own, made, _ = made_by(Chained(), jnp.zeros((2, 5)))
    assert_equal(own, made)
    kernels = [own["params"][f"Dense_{n}"]["kernel"] for n in range(3)]
    assert np.any(kernels[0] != kernels[1])


@pytest.mark.parametrize("name", ["vdpa", "swin_tiny"])
def test_of_networks_of_ours(name):
    """Drawn by as many loops as there are kinds; no product of the forward pass."""
    model = models.create(name, **SMALL[name])
    own, made, program = made_by(model, *model.example_inputs(1))
    assert_equal(own, made)
    assert not re.findall(r"\b(?:dot|convolution)\(", program)
    forward = jax.jit(model.apply).lower(own, *model.example_inputs(1)).compile()
    assert re.findall(r"\b(?:dot|convolution)\(", forward.as_text()), "would be found"


def test_what_needs_its_argument_gets_it():
    class Centred(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x - self.param("mean", lambda key: x.mean(0))

    x = jnp.arange(6.0).reshape(3, 2)
    own, made, _ = made_by(Centred(), x)
    assert_equal(own, made)
    np.testing.assert_array_equal(made["params"]["mean"], [2.0, 3.0])
