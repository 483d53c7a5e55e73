"""Geometry of image batches: one bilinear resampling, and whole-pixel shifts.

    result[p] = image[M (p - c - s) + c],   c the image's centre, 0 outside the image

Rows and columns are counted in pixels, downwards and to the right; every image has its
own matrix M and shift s. With M = 1 and s = 0 the images come back bit for bit.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Images = Float[Array, "batch height width channels"]


def affine(
    images: Images,
    angles: Float[Array, " batch"],
    scales: Float[Array, " batch"],
    shifts: Float[Array, "batch 2"],
) -> Images:
    """Turn, scale and shift images about their centre, bilinearly, 0 outside.

    `angles` in degrees, counter-clockwise as seen; `scales` > 1 enlarges; `shifts` in
    pixels (down, right). Each pixel is read where the inverse map puts it.
    """
    radians = jnp.deg2rad(angles)
    cosine, sine = jnp.cos(radians) / scales, jnp.sin(radians) / scales  # (batch,)
    rows = jnp.stack([cosine, sine], axis=-1), jnp.stack([-sine, cosine], axis=-1)
    return resample(images, jnp.stack(rows, axis=1), shifts)


def resample(
    images: Images, matrices: Float[Array, "batch 2 2"], shifts: Float[Array, "batch 2"]
) -> Images:
    """Read images bilinearly at M (p - c - s) + c, see the module's docstring.

    `matrices` take a (row, column) of the result to the (row, column) that is read.
    """
    batch, height, width, channels = images.shape
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    row = jnp.arange(height)[:, None] - middle_row - shifts[:, :1, None]
    column = jnp.arange(width)[None, :] - middle_column - shifts[:, 1:, None]
    # Written out, not a matrix product: accelerators round those to fewer bits.
    entry = matrices[:, :, :, None, None]  # (batch, 2, 2, 1, 1)
    source_row = entry[:, 0, 0] * row + entry[:, 0, 1] * column + middle_row
    source_column = entry[:, 1, 0] * row + entry[:, 1, 1] * column + middle_column

    # A border of zeros makes the neighbours outside readable without a mask.
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    top = jnp.clip(jnp.floor(source_row), -1, height - 1)  # (batch, height, width)
    left = jnp.clip(jnp.floor(source_column), -1, width - 1)
    down = jnp.clip(source_row - top, 0, 1)  # beyond the border: that border alone
    right = jnp.clip(source_column - left, 0, 1)
    stride = width + 2
    corner = ((top + 1) * stride + left + 1).astype(jnp.int32)  # (batch, h, w)
    flat = padded.reshape(batch, -1, channels)

    def neighbour(offset: int) -> Images:
        index = (corner + offset).reshape(batch, -1)
        picked = jax.vmap(lambda image, at: image.at[at].get(mode="clip"))(flat, index)
        return picked.reshape(images.shape)

    down, right = down[..., None], right[..., None]
    upper = neighbour(0) * (1 - right) + neighbour(1) * right
    lower = neighbour(stride) * (1 - right) + neighbour(stride + 1) * right
    return upper * (1 - down) + lower * down


def translate(images: Images, offsets: Int[Array, "batch 2"], limit: int) -> Images:
    """Move images by whole pixels (down, right) within +-limit; 0 moves in."""
    _, height, width, channels = images.shape
    border = (limit, limit)
    padded = jnp.pad(images, ((0, 0), border, border, (0, 0)))

    def window(image: Array, offset: Array) -> Array:
        start = (limit - offset[0], limit - offset[1], 0)
        return jax.lax.dynamic_slice(image, start, (height, width, channels))

    return jax.vmap(window)(padded, offsets)


def zoom(
    images: Images, corners: Int[Array, "batch 2"], sizes: Int[Array, "batch 2"]
) -> Images:
    """Enlarge a box of each image to the whole image, bilinearly.

        result[p] = box[(p + 1/2) size / image's size - 1/2]

    with the box's border beyond its outermost pixels' centres, as PyTorch's
    `interpolate` has it without `align_corners`. Boxes are of `sizes` rows and columns
    from `corners` on and lie within their images; enlarging needs no antialiasing.
    """

    def along(images: Images, axis: int) -> Images:
        pixels, size = images.shape[axis], sizes[:, axis - 1, None]
        # In whole numbers: the box that is the image itself comes back bit for bit.
        place = (2 * jnp.arange(pixels) + 1) * size - pixels  # of 2 pixels; (batch, p)
        first, rest = jnp.divmod(jnp.maximum(place, 0), 2 * pixels)
        share = rest.astype(images.dtype) / (2 * pixels)
        corner = corners[:, axis - 1, None]
        shape = [len(images), 1, 1, 1]
        shape[axis] = pixels

        def read(index: Int[Array, "batch pixels"]) -> Images:
            index = (corner + jnp.minimum(index, size - 1)).reshape(shape)
            return jnp.take_along_axis(images, index, axis)

        share = share.reshape(shape)
        return read(first) * (1 - share) + read(first + 1) * share

    return along(along(images, 1), 2)
