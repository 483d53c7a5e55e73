"""Layers of parameters, for models whose blocks stand one after another.

See `contract.Layered`: each layer is the patterns of its parameters.
"""

from collections.abc import Callable, Sequence

Layer = tuple[str, ...]


def whole(*names: str) -> Layer:
    """Return the patterns of all that is below these names."""
    return tuple(f"{name}/**" for name in names)


def number_blocks(name: str, depth: int) -> list[Layer]:
    """Return a layer for each of the blocks NAME_0, NAME_1, ..."""
    return [whole(f"{name}_{index}") for index in range(depth)]


def number_stages(
    name: str, depths: Sequence[int], entry: Callable[[int], Layer]
) -> list[Layer]:
    """Return a layer for each block of each stage, NAME_0_blocks_0, ...

    `entry`: patterns of what leads to a stage from the one before; they go with the
    stage's first block.
    """
    layers: list[Layer] = []
    for stage, depth in enumerate(depths):
        first, *others = number_blocks(f"{name}_{stage}_blocks", depth)
        layers += [(*entry(stage), *first) if stage else first, *others]
    return layers
