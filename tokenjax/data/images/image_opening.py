"""Opening an image file that may be anything: an image, or one sentence.

What a file is, its content decides, whatever its name: JPEG, PNG, WebP, BMP, TIFF or
GIF and nothing else, for Pillow would hand PostScript to Ghostscript. Refused are
truncated files, PNG files whose checksums do not hold (Pillow alone reads on), more
pixels than `max_pixels`, TIFF files whose numbers have no known black and white, and
what is no regular file: opening a pipe would wait for ever. Damage in the pixels of a
JPEG, GIF, BMP or TIFF file shows in the picture alone: they have no checksum.
"""

import functools
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tokenjax.errors import BrokenImageError, DatasetError, shown

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_FORMATS_NAMED = "JPEG, PNG, WebP, BMP, TIFF or GIF"
MAX_PIXELS = 2**30 // 12  # Pillow's own: a quarter of a GiB at three bytes each


@contextmanager
def open_image(path: Path, max_pixels: int, whole: bool) -> Iterator["Image"]:
    """Open a file by Pillow; turn what is wrong inside it into a `DatasetError`.

    Args:
      path: of the file.
      max_pixels: larger images are refused before they are decoded.
      whole: all of a PNG file's checksums are checked first.

    Raises: BrokenImageError for the content, DatasetError where it cannot be had.
    """
    with ExitStack() as stack:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise DatasetError(f"{shown(path)} is not a readable image: no file")
            file = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise _unopened(path, error) from error
        yield stack.enter_context(open_stream(file, path, max_pixels, whole))


@contextmanager
def open_stream(
    file: BinaryIO, name: object, max_pixels: int, whole: bool
) -> Iterator["Image"]:
    """Open what a file object holds as `open_image` does, `name` being its name."""
    from PIL import Image as pillow

    _set_pillows_limit(max_pixels)
    try:
        with pillow.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ValueError(f"{width}x{height} pixels, {_too_many(max_pixels)}")
            _check_tiff(image, max_pixels)
            png = image.format == "PNG"
            if whole and png:
                image.verify()  # after which it has to be opened anew
            else:
                yield image
        if whole and png:
            file.seek(0)
            with pillow.open(file, formats=FORMATS) as image:
                yield image
    except (DatasetError, MemoryError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        raise _in_a_sentence(error, file, name, max_pixels) from error


def _check_tiff(image: "Image", max_pixels: int) -> None:
    """Refuse a TIFF file whose numbers have no black and white that Pillow knows.

    Measurements are stored so: fractions, signed numbers, 32 bits, 12 bits in 16, and
    16 bits that count down from white. Refuse tiles far larger than the image, too:
    they are decoded whole.
    """
    from PIL.TiffImagePlugin import (
        BITSPERSAMPLE,
        PHOTOMETRIC_INTERPRETATION,
        TILELENGTH,
        TILEWIDTH,
        TiffImageFile,
    )

    if not isinstance(image, TiffImageFile):
        return
    tags = image.tag_v2
    if tags.get(TILEWIDTH, 0) * tags.get(TILELENGTH, 0) > max_pixels:
        raise ValueError(f"its tiles have {_too_many(max_pixels)}")
    if image.mode[0] not in "IF":
        return
    from_black = tags.get(PHOTOMETRIC_INTERPRETATION) == 1
    if image.mode in ("I", "F") or tags.get(BITSPERSAMPLE) != (16,) or not from_black:
        raise ValueError(
            "its numbers are no shades of grey from black, of 8 or 16 bits"
        )


def _set_pillows_limit(max_pixels: int) -> None:
    """Raise Pillow's limit for the process to a user's larger one."""
    from PIL import Image as pillow

    _ignore_its_warnings()
    if pillow.MAX_IMAGE_PIXELS and max_pixels > pillow.MAX_IMAGE_PIXELS:
        pillow.MAX_IMAGE_PIXELS = max_pixels


@functools.cache
def _ignore_its_warnings() -> None:
    """Silence Pillow's warnings: what matters of them is refused a moment later.

    The others are of tags beside the picture, a line for each file.
    """
    from PIL import Image as pillow

    warnings.filterwarnings("ignore", category=pillow.DecompressionBombWarning)
    tags = r"PIL\.TiffImagePlugin"
    warnings.filterwarnings("ignore", category=UserWarning, module=tags)


def _unopened(name: object, error: OSError) -> DatasetError:
    return DatasetError(f"{shown(name)} cannot be opened: {error.strerror}")


def _in_a_sentence(
    error: Exception, file: BinaryIO, name: object, max_pixels: int
) -> DatasetError:
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    if isinstance(error, OSError) and error.errno is not None:
        return _unopened(name, error)
    reason = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        content = "what it holds" if file.seek(0, os.SEEK_END) else "an empty file"
        reason = f"{content} is no {_FORMATS_NAMED}"
    if isinstance(error, pillow.DecompressionBombError):
        reason = _too_many(max_pixels)
    return BrokenImageError(f"{shown(name)} is not a readable image: {reason}")


def _too_many(max_pixels: int) -> str:
    return f"more than the {max_pixels} that data.max_pixels allows"
