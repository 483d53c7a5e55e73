"""Image files of every kind and in every state: an array, or one sentence."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tokenjax.data.images import image_opening
from tokenjax.data.images.image_opening import MAX_PIXELS
from tokenjax.data.images.image_sizes import check_header, read_resized, read_rgb
from tokenjax.errors import BrokenImageError, DatasetError

RED = (200, 30, 40)


def png(
    path: Path, width: int, height: int, depth: int, kind: int, data: bytes
) -> Path:
    """A PNG file by hand: `kind` 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))
    return path


def noise(path: Path, size=(40, 40), **options) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(("kind", "values"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_are_scaled(tmp_path, kind, values):
    row = b"\0" + b"\x80\x40" * values if kind in (0, 2) else None
    row = row or b"\0" + b"\x80\x40" * (values - 1) + b"\xff\xff"
    path = png(tmp_path / "x.png", 1, 1, 16, kind, row)
    assert (read_rgb(path, 1) == 0x80).all()


def test_transparent_grey_of_sixteen_bits_shows_white(tmp_path):
    pixels = np.full((2, 2), 0x4000, np.uint16)
    pixels[0] = 0x8000
    Image.fromarray(pixels).save(tmp_path / "x.png", transparency=0x8000)
    image = read_rgb(tmp_path / "x.png", 2)
    assert (image[0] == 255).all()
    assert (image[1] == 0x40).all()


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(tmp_path, orientation, kind):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = noise(tmp_path / f"x.{kind}", (6, 6), exif=exif)
    with Image.open(path) as image:
        image.load()  # which turns a TIFF file already
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_rgb(path, 6), upright)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_content_decides_not_the_name(tmp_path, kind):
    Image.new("RGB", (8, 8), RED).save(tmp_path / "x.jpg", format=kind)
    image = read_rgb(tmp_path / "x.jpg", 8)
    assert np.abs(image.astype(int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["EPS", "ICO", "PPM", "PDF"])
def test_other_formats_are_refused(tmp_path, kind):
    """PostScript above all: Pillow would start Ghostscript on it."""
    Image.new("RGB", (8, 8), RED).save(tmp_path / "x.png", format=kind)
    for read in (lambda path: read_rgb(path, 8), check_header):
        with pytest.raises(BrokenImageError, match="what it holds is no JPEG, PNG"):
            read(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 0, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(
        tmp_path / "x.png", kind, save_all=True, append_images=frames[1:], **options
    )
    assert np.abs(read_rgb(tmp_path / "x.png", 8).astype(int) - RED).max() <= 2


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, recwarn):
    image_opening._ignore_its_warnings.cache_clear()  # pytest resets what it set
    bomb = png(tmp_path / "bomb.png", 30_000, 30_000, 1, 0, b"\0")  # 900 million
    over = png(tmp_path / "over.png", 10_000, 10_000, 1, 0, b"\0")
    for path in (bomb, over):
        for read in (lambda path: read_rgb(path, 8), check_header):
            with pytest.raises(BrokenImageError, match=rf"{MAX_PIXELS} that data\.max"):
                read(path)
    assert not recwarn.list
    wide = Image.new("1", (10_000, 10_000), 1)
    wide.save(tmp_path / "wide.png")
    assert (read_rgb(tmp_path / "wide.png", 4, max_pixels=10**8) == 255).all()
    with pytest.raises(BrokenImageError, match="10000x10000 pixels, more than"):
        read_rgb(tmp_path / "wide.png", 4, max_pixels=10**8 - 1)
    with pytest.raises(BrokenImageError, match="more than the 63 that"):
        read_resized(noise(tmp_path / "x.png", (8, 8)), 4, 4, max_pixels=63)


END = 12  # bytes of a PNG file's last chunk, which says nothing


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damage_to_a_png_is_found_wherever_it_is(tmp_path, damage):
    """Pillow alone shows another picture for many of these flips."""
    path = tmp_path / "x.png"
    ramp = np.tile(np.arange(40, dtype=np.uint8)[:, None, None], (1, 40, 3))
    Image.fromarray(ramp).save(path)
    whole = path.read_bytes()
    for position, byte in enumerate(whole[:-END]):
        rest = b"" if damage == "truncated" else whole[position + 1 :]
        path.write_bytes(whole[:position] + bytes([byte ^ 1]) + rest)
        with pytest.raises(BrokenImageError, match="is not a readable image"):
            read_rgb(path, 6)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.full((4, 4), 0.5, np.float32), {}),
        (np.full((4, 4), 7, np.int32), {}),
        (np.full((4, 4), 0x8000, np.uint16), {"tiffinfo": {262: 0}}),  # white is 0
    ],
    ids=["fractions", "32 bits", "from white"],
)
def test_numbers_without_black_and_white_are_refused(tmp_path, pixels, options):
    path = tmp_path / "x.tif"
    Image.fromarray(pixels).save(path, **options)
    for read in (lambda path: read_rgb(path, 4), check_header):
        with pytest.raises(BrokenImageError, match="its numbers are no shades of grey"):
            read(path)


STRIPS = {273: 200, 278: 8, 279: 96}


def tiff(path: Path, tags: dict[int, int]) -> Path:
    """A black image as a TIFF file by hand; `tags` are added to those it needs."""
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, **tags}
    directory = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    count = struct.pack("<H", len(tags))
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + count + directory + bytes(400))
    return path


def test_twelve_bits_are_refused(tmp_path):
    """Pillow hands out 0 to 4095 of them as if they were 16."""
    assert (read_rgb(tiff(tmp_path / "x.tif", STRIPS), 8) == 0).all()
    with pytest.raises(BrokenImageError, match="its numbers are no shades of grey"):
        read_rgb(tiff(tmp_path / "x.tif", STRIPS | {258: 12}), 8)


def test_huge_tiff_files_are_refused_before_they_are_decoded(tmp_path):
    wide = tiff(tmp_path / "wide.tif", STRIPS | {256: 50_000, 257: 50_000})
    tiles = {322: 65_536, 323: 65_536, 324: 200, 325: 64, 259: 8}
    tiled = tiff(tmp_path / "tiled.tif", tiles)
    for path in (wide, tiled):
        for read in (lambda path: read_rgb(path, 8), check_header):
            with pytest.raises(BrokenImageError, match=r"that data\.max_pixels"):
                read(path)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_a_truncated_tiff_is_refused(tmp_path, compression, recwarn):
    image_opening._ignore_its_warnings.cache_clear()  # pytest resets what it set
    path = noise(tmp_path / "x.tif", compression=compression)
    whole = path.read_bytes()
    for length in (0, 7, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BrokenImageError, match="is not a readable image"):
            read_rgb(path, 8)
    assert not recwarn.list


def test_a_truncated_jpeg_is_refused(tmp_path):
    whole = noise(tmp_path / "x.jpg").read_bytes()
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 20):
        (tmp_path / "x.jpg").write_bytes(whole[:length])
        with pytest.raises(BrokenImageError, match="is not a readable image"):
            read_rgb(tmp_path / "x.jpg", 8)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "folder.png"):
        with pytest.raises(DatasetError, match=f"{name} is not a readable image: no"):
            read_rgb(tmp_path / name, 8)
    with pytest.raises(DatasetError, match=r"gone\.png cannot be opened: No such file"):
        read_rgb(tmp_path / "gone.png", 8)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = noise(tmp_path / "x.png")
    path.chmod(0)
    with pytest.raises(DatasetError, match=r"x\.png cannot be opened: Permission"):
        read_rgb(path, 8)


def test_a_name_that_breaks_lines_does_not_break_the_sentence(tmp_path):
    path = tmp_path / "two\nlines.png"
    path.write_bytes(b"")
    with pytest.raises(BrokenImageError, match=r"two\\nlines\.png.*an empty file") as e:
        read_rgb(path, 8)
    assert "\n" not in str(e.value)
