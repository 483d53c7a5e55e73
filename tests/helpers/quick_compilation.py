"""What spares tests most of their time: compiling well what runs once."""

import jax
import jax.numpy as jnp
import numpy as np


def quick(function):
    """jit that spends about half the time on the compilation."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def drawn_variables(model, *inputs):
    """Random variables of any size, its own initialisation not being compiled."""
    generator = np.random.default_rng(0)

    def draw(path, leaf):
        around = float(path[-1].key in ("scale", "var"))  # 1 for these, else 0
        return jnp.float32(around + 0.2 * generator.uniform(-1, 1, leaf.shape))

    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    return jax.tree.map_with_path(draw, shapes)
