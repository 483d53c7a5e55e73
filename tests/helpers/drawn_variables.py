"""Random variables of any size, its own initialisation not being compiled."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers.model_shapes import find_shapes


def drawn_variables(model, *inputs):
    """Draw variables of the shapes that the model would initialise."""
    generator = np.random.default_rng(0)

    def draw(path, leaf):
        around = float(path[-1].key in ("scale", "var"))  # 1 for these, else 0
        return jnp.float32(around + 0.2 * generator.uniform(-1, 1, leaf.shape))

    return jax.tree.map_with_path(draw, find_shapes(model, *inputs))
