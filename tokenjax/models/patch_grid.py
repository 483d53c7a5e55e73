"""How many patches an image has, patches and strides being given in pixels.

    patches along an axis = (pixels - patch_size) // stride + 1

Sizes, strides and grids are (rows, columns).
"""

import jax


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (rows, columns) of one number for both, or of two."""
    return (size, size) if isinstance(size, int) else size


def grid_of(
    size: tuple[int, int], patch_size: int, stride: tuple[int, int]
) -> tuple[int, int]:
    """Return the patches of an image of `size`; below 1 if it is less than a patch."""
    rows, columns = (
        (pixels - patch_size) // step + 1
        for pixels, step in zip(size, stride, strict=True)
    )
    return rows, columns


def left_over(
    size: tuple[int, int], patch_size: int, stride: tuple[int, int]
) -> tuple[int, int]:
    """Return the rows and columns of an image of `size` that fill no patch."""
    grid = grid_of(size, patch_size, stride)
    used = smallest_size(grid, patch_size, stride)
    return size[0] - used[0], size[1] - used[1]


def smallest_size(
    grid: tuple[int, int], patch_size: int, stride: tuple[int, int]
) -> tuple[int, int]:
    """Return the smallest image that has `grid` patches."""
    height, width = (
        (patches - 1) * step + patch_size
        for patches, step in zip(grid, stride, strict=True)
    )
    return height, width


def check_images(
    images: jax.Array, grid: tuple[int, int], patch_size: int, stride: tuple[int, int]
) -> None:
    """Raise ValueError unless images are (b, height, width, 3) with `grid` patches."""
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            "the model takes images (batch, height, width, 3), channels last; "
            f"got {tuple(images.shape)}"
        )
    height, width = images.shape[1:3]
    found = grid_of((height, width), patch_size, stride)
    if found != grid:
        least = smallest_size(grid, patch_size, stride)
        raise ValueError(
            f"images of {height} x {width} have {found[0]} x {found[1]} patches of "
            f"{patch_size} at stride {stride[0]}, {stride[1]}, and the model takes "
            f"{grid[0]} x {grid[1]}: {least[0]} x {least[1]} would fit"
        )
