"""Random variables of any size, its own initialisation not being compiled."""

import jax
import jax.numpy as jnp
import numpy as np


def drawn_variables(model, *inputs):
    """Draw variables of the shapes that the model would initialise."""
    generator = np.random.default_rng(0)

    def draw(path, leaf):
        around = float(path[-1].key in ("scale", "var"))  # 1 for these, else 0
        return jnp.float32(around + 0.2 * generator.uniform(-1, 1, leaf.shape))

    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    return jax.tree.map_with_path(draw, shapes)
