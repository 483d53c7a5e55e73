"""Inputs to measure with: shaped as the model's own examples, filled with noise.

Zeros, which examples often are, would let selective models take one path always and
processors take short cuts.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.benchmark.random_arrays import RandomArrays


def distinct_inputs(
    module: nn.Module, batch_size: int, image_size: int = 0, count: int = 3
) -> list[tuple]:
    """Return `count` argument tuples of `module`, each with its own normal noise.

    Args:
      module: has `example_inputs(batch_size)` -> tuple of trees of arrays.
      batch_size: examples in each array.
      image_size: where not 0, height and width in pixels of every array of four axes
        (batch, height, width, channels); for models that take images of any size.
      count: tuples to make.

    Integers (camera ids and the like) stay as the model gives them.
    """
    leaves, structure = jax.tree.flatten(_example(module, batch_size))
    noise = RandomArrays(1)  # a device would compile its own
    made = [
        jax.tree.unflatten(
            structure, [_noise(leaf, image_size, noise) for leaf in leaves]
        )
        for _ in range(count)
    ]
    return jax.device_put(made)


def describe_inputs(module: nn.Module, batch_size: int, image_size: int = 0) -> tuple:
    """Return shapes and types of the tuples of `distinct_inputs`; nothing is made."""
    shapes = jax.eval_shape(lambda: module.example_inputs(batch_size))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(_shape(leaf, image_size), leaf.dtype), shapes
    )


def _example(module: nn.Module, batch_size: int) -> tuple:
    """Return a module's example; of what noise replaces, the shapes alone."""
    shapes = jax.eval_shape(lambda: module.example_inputs(batch_size))
    leaves = jax.tree.leaves(shapes)
    if all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        return shapes
    return jax.device_get(module.example_inputs(batch_size))


def _noise(
    leaf: np.ndarray | jax.ShapeDtypeStruct,
    image_size: int,
    noise: RandomArrays,
) -> np.ndarray:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return np.asarray(leaf)
    return noise.normal(_shape(leaf, image_size)).astype(leaf.dtype)


def _shape(leaf: np.ndarray | jax.ShapeDtypeStruct, image_size: int) -> tuple[int, ...]:
    """Return the shape of an example, of images with their sides as given."""
    if image_size and leaf.ndim == 4:
        return leaf.shape[0], image_size, image_size, leaf.shape[3]
    return leaf.shape


def image_size(arguments: tuple) -> tuple[int, int] | None:
    """Return height and width of the images that come first, None where none do.

    Images are arrays of four axes, (batch, height, width, channels).
    """
    first = jax.tree.leaves(arguments)[0]
    return first.shape[1:3] if first.ndim == 4 else None


def shapes(arguments: tuple) -> str:
    """Return the shapes of a tree of arrays in words, such as "8x224x224x3, 8"."""
    leaves = jax.tree.leaves(arguments)
    return ", ".join("x".join(map(str, leaf.shape)) or "scalar" for leaf in leaves)
