"""Inputs to measure with: shaped as the model's own examples, filled with noise.

Zeros, which examples often are, would let selective models take one path always and
processors take short cuts.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


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
    example = module.example_inputs(batch_size)
    leaves, structure = jax.tree.flatten(example)
    keys = jax.random.split(jax.random.key(1), (count, len(leaves)))
    filled = [
        [_noise(leaf, image_size, key) for leaf, key in zip(leaves, row, strict=True)]
        for row in keys
    ]
    return [jax.tree.unflatten(structure, arrays) for arrays in filled]


def _noise(leaf: jax.Array, image_size: int, key: jax.Array) -> jax.Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    shape = leaf.shape
    if image_size and leaf.ndim == 4:
        shape = (shape[0], image_size, image_size, shape[3])
    return jax.random.normal(key, shape, leaf.dtype)


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
