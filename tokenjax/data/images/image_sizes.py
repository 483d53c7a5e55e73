"""Image files and arrays of any size and kind -> uint8 arrays of one size, by Pillow.

Square ones: the shorter side is resized to `size` (bicubic, as classifiers are
evaluated) and the middle of the longer one is kept. Upright rectangles, for
re-identification: both sides are resized, whatever becomes of the proportions. Pillow
is imported inside the functions: digits and idle imports do without it.

Grey, CMYK and palettes become RGB; 16 bits keep their upper 8; what is transparent
shows white. An image lies as its EXIF orientation says, where torchvision's ImageFolder
leaves it as it was stored. Of an animation, and of a file of many pages, the first
picture is taken. What is refused stands in `image_opening`.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tokenjax.data.images.image_opening import MAX_PIXELS, open_image, open_stream
from tokenjax.data.preprocessing import Reading

if TYPE_CHECKING:
    from PIL.Image import Image

Resampling = Literal["bilinear", "bicubic"]
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the file

MAX_SIDE = 2**14  # of the arrays handed out
_WHOLE = Reading()


def to_rgb(image: "Image") -> "Image":
    """Convert any mode to RGB: 16 bits keep their upper 8, transparency shows white."""
    from PIL import Image as pillow

    if image.mode.startswith("I"):  # "I;16" and its kin, "I": 16-bit grey
        values = np.asarray(image).astype(np.int64)
        upper = np.clip(values >> 8, 0, 255)
        upper[values == image.info.get("transparency", -1)] = 255
        return pillow.fromarray(upper.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = pillow.new("RGBA", layer.size, (255, 255, 255, 255))
        return pillow.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def fit(image: "Image", height: int, width: int, reading: Reading = _WHOLE) -> "Image":
    """Resize until it covers (height, width), then cut out the centre.

    With a crop below 1 a square's shorter side is resized to size / crop, rounded down,
    and what is cut off there is looked at by no pixel but the border's (as timm does).
    """
    from PIL import Image as pillow
    from PIL import ImageOps

    method = pillow.Resampling[reading.interpolation.upper()]
    if reading.stretch:
        return image.resize((width, height), method)
    if reading.crop == 1:
        return ImageOps.fit(image, (width, height), method)  # in one pass
    if height != width:
        outer = [max(math.floor(side / reading.crop), side) for side in (width, height)]
        image = ImageOps.fit(image, (outer[0], outer[1]), method)
    else:
        shorter = max(math.floor(height / reading.crop), height)
        longest = int(shorter * max(image.size) / min(image.size))
        wide = image.width > image.height
        sides = (longest, shorter) if wide else (shorter, longest)
        image = image.resize(sides, method)
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def fit_square(image: "Image", size: int, reading: Reading = _WHOLE) -> "Image":
    """Return what `fit` makes of it at (size, size)."""
    return fit(image, size, size, reading)


def upright(image: "Image") -> "Image":
    """Turn an image as its EXIF orientation says.

    `ImageOps.exif_transpose` also writes all of EXIF anew, and fails where a tag is odd
    that has nothing to do with the picture.
    """
    from PIL import Image as pillow

    image.load()  # Pillow turns a TIFF file's picture here, and takes its tag away
    turn = pillow.Transpose
    orientation = image.getexif().get(0x0112, 1)  # 1: as it is
    method = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)


def _draft(image: "Image", shape: tuple[int, int, int], reading: Reading) -> None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 where that leaves twice the side.

    Stretched pictures are decoded in full, as PyTorch programs do.
    """
    if not reading.stretch:
        side = math.ceil(2 * max(shape[:2]) / reading.crop)
        image.draft(None, (side, side))


def read_rgb(
    path: Path, size: int, max_pixels: int = MAX_PIXELS, reading: Reading = _WHOLE
) -> np.ndarray:
    """Read a file as uint8 (size, size, 3), upright; `DatasetError` if broken."""
    return read_picture(path, (size, size, 3), reading, max_pixels)


def read_picture(
    path: Path,
    shape: tuple[int, int, int],
    reading: Reading = _WHOLE,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read a file as uint8 of a shape (height, width, 1 or 3), upright.

    Raises: DatasetError for a file that is no whole image, or cannot be opened.
    """
    with open_image(path, max_pixels, whole=True) as image:
        _draft(image, shape, reading)
        return fit_picture(image, shape, reading)


def read_encoded(
    content: bytes,
    name: object,
    shape: tuple[int, int, int],
    reading: Reading = _WHOLE,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read the bytes of a file as `read_picture` does; `name` is for the messages."""
    return fit_rgb(decode(content, name, shape, reading, max_pixels), shape, reading)


def decode(
    content: bytes,
    name: object,
    shape: tuple[int, int, int],
    reading: Reading = _WHOLE,
    max_pixels: int = MAX_PIXELS,
) -> "Image":
    """Decode the bytes of a file to RGB, upright, large enough for `fit_rgb`."""
    with open_stream(io.BytesIO(content), name, max_pixels, whole=True) as image:
        _draft(image, shape, reading)
        return to_rgb(upright(image))


def fit_picture(
    image: "Image", shape: tuple[int, int, int], reading: Reading = _WHOLE
) -> np.ndarray:
    """Fit an image of any mode as `read_picture` does one in a file."""
    return fit_rgb(to_rgb(upright(image)), shape, reading)


def fit_rgb(
    image: "Image", shape: tuple[int, int, int], reading: Reading = _WHOLE
) -> np.ndarray:
    """Fit an RGB image; grey is made before, as where a set is grey itself."""
    height, width, channels = shape
    picture = image.convert("L") if channels == 1 else image
    return np.asarray(fit(picture, height, width, reading)).reshape(shape)


def read_resized(
    path: Path,
    height: int,
    width: int,
    method: Resampling = "bicubic",
    boxes: Sequence[Box] = (),
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read a file as uint8 (1, height, width, 3), or its `boxes`, each resized.

    With n boxes the result is (n, height, width, 3). Decoded in full, as PyTorch
    programs do. `DatasetError` names a broken file, and one that a box leaves.
    """
    from PIL import Image as pillow

    resampling = pillow.Resampling[method.upper()]

    def finish(image: "Image") -> np.ndarray:
        for _, _, right, bottom in boxes:
            if right > image.width or bottom > image.height:
                raise ValueError(
                    f"{image.width}x{image.height} pixels are fewer than the "
                    f"{right}x{bottom} that its parts need"
                )
        parts = [image.crop(box) for box in boxes] or [image]
        return np.stack([part.resize((width, height), resampling) for part in parts])

    with open_image(path, max_pixels, whole=True) as image:
        return finish(to_rgb(upright(image)))


def check_header(path: Path, max_pixels: int = MAX_PIXELS) -> None:
    """Open without decoding; `DatasetError` names a file that is no image."""
    with open_image(path, max_pixels, whole=False):
        pass


def fit_array(
    image: np.ndarray, size: int, channels: int, reading: Reading = _WHOLE
) -> np.ndarray:
    """Fit an array (h, w, 1 or 3 or 4) to uint8 (size, size, channels of 1 or 3).

    One that has this shape is left as it is, whatever the crop.
    """
    from PIL import Image as pillow

    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.shape == (size, size, channels):
        return image
    picture = pillow.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture = picture.convert("L") if channels == 1 else to_rgb(picture)
    return np.asarray(fit_square(picture, size, reading)).reshape(size, size, channels)
