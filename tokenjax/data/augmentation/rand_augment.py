"""RandAugment: every image undergoes operations of its own choice, one after another.

Cubuk et al. 2020 (arXiv:1909.13719). Each of `operations` slots draws one of the 14
operations below for each image, uniformly, and a sign where one has a meaning. With
strength = magnitude / 30 (torchvision's 31 bins, but any number between them too):

    rotate                  +-30 degrees * strength
    shear_x, shear_y        +-0.3 * strength, about the upper left corner
    translate_x, _y         +-150/331 of the side * strength, whole pixels
    brightness, contrast, saturation, sharpness
                            factor 1 +- 0.9 * strength
    posterize               8 - 4 * strength bits, rounded
    solarize                levels from 256 * (1 - strength) upwards
    identity, autocontrast, equalize

Solarize starts at 256, not torchvision's 255, so that at magnitude 0 white stays white;
all but autocontrast and equalize then leave an image as it was to an 8-bit level.

Shapes are static. A slot's five geometric operations are one matrix for each image and
share one bilinear resampling (0 outside); its eight photometric operations are computed
for the whole batch and selected from: as a branch of its own for each image they would
run one image after another. Two slots take 23 ms for 128 images of 32x32x3 on two CPU
cores, jitted, a third of it for equalize; 6 ms for 28x28x1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from tokenjax.data.augmentation import colour
from tokenjax.data.augmentation.geometry import Images, resample

OPERATIONS = (
    "identity",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "brightness",
    "contrast",
    "saturation",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
MAXIMUM_MAGNITUDE = 30.0


def rand_augment(
    key: jax.Array, images: Images, operations: int, magnitude: float
) -> Images:
    """Apply `operations` random operations to each image in 0..1; back in 0..1.

    `magnitude` is 0..30; both numbers are Python's, `tokenjax.data.Augmentation`
    checks them.
    """
    batch = images.shape[0]

    def slot(images: Images, key: jax.Array) -> tuple[Images, None]:
        which, sign = jax.random.split(key)
        chosen = jax.random.randint(which, (batch,), 0, len(OPERATIONS))
        signs = jax.random.rademacher(sign, (batch,), images.dtype)
        return apply_operations(images, chosen, signs, magnitude), None

    # A scan, so that compile time does not grow with the number of operations.
    return jax.lax.scan(slot, images, jax.random.split(key, operations))[0]


def apply_operations(
    images: Images,
    chosen: Int[Array, " batch"],
    signs: Float[Array, " batch"],
    magnitude: float,
) -> Images:
    """Apply the operation OPERATIONS[chosen] with its sign (-1 or 1) to each image."""
    strength = magnitude / MAXIMUM_MAGNITUDE
    factors = 1 + 0.9 * strength * signs
    photometric: dict[str, Callable[[Images], Images]] = {
        "brightness": lambda x: colour.adjust_brightness(x, factors),
        "contrast": lambda x: colour.adjust_contrast(x, factors),
        "saturation": lambda x: colour.adjust_saturation(x, factors),
        "sharpness": lambda x: colour.adjust_sharpness(x, factors),
        "posterize": lambda x: colour.posterize(x, 8 - round(4 * strength)),
        "solarize": lambda x: colour.solarize(x, 256 * (1 - strength)),
        "autocontrast": colour.autocontrast,
        "equalize": colour.equalize,
    }
    result = resample(images, *transforms(images, chosen, signs * strength))
    for name, function in photometric.items():
        here = (chosen == OPERATIONS.index(name))[:, None, None, None]
        result = jnp.where(here, function(images), result)
    return result


def transforms(
    images: Images, chosen: Int[Array, " batch"], strengths: Float[Array, " batch"]
) -> tuple[Float[Array, "batch 2 2"], Float[Array, "batch 2"]]:
    """Return `resample`'s matrices and shifts; identity for photometric operations."""
    _, height, width, _ = images.shape

    def amount(name: str, limit: float) -> Float[Array, " batch"]:
        return jnp.where(chosen == OPERATIONS.index(name), limit * strengths, 0)

    radians = jnp.deg2rad(amount("rotate", 30.0))
    shear_x, shear_y = amount("shear_x", 0.3), amount("shear_y", 0.3)
    farthest = 150 / 331
    down = jnp.trunc(amount("translate_y", farthest * height))
    right = jnp.trunc(amount("translate_x", farthest * width))
    cosine, sine = jnp.cos(radians), jnp.sin(radians)
    matrices = [[cosine, sine + shear_y], [shear_x - sine, cosine]]
    # A shear about the corner is one about the centre and a shift.
    shifts = [down - shear_y * width / 2, right - shear_x * height / 2]
    matrix = jnp.stack([jnp.stack(row, axis=-1) for row in matrices], axis=1)
    return matrix, jnp.stack(shifts, axis=-1)
