"""Images for `fuzz`: of all kinds, damaged and hostile, in a folder of two classes.

Three whole images, and one odd one among them. What must hold:
- whole ones come back bit for bit, wherever they end up;
- a whole one of an odd kind (16 bits, palettes, orientations, another name) comes back
  as its kind is defined to;
- a damaged PNG comes back bit for bit or not at all: it has checksums. Of the others
  only a truncated JPEG must be told, the rest is damage nobody can see;
- what is no image (pipes, links away, bombs, PostScript) never comes back;
- with broken="skip" the whole ones come back without the broken one.
"""

import io
import os
import pathlib
import struct
import zlib
from collections.abc import Callable

import numpy as np

from tokenjax import data
from tokenjax.errors import DatasetError
from tokenjax.reliability import damage

SIZE = 8
Pixels = np.ndarray  # (SIZE, SIZE, 3) uint8
Random = np.random.Generator
Case = tuple[Pixels | None, bool]  # what must come back, whether it must be refused


def run(seed: int, directory: pathlib.Path) -> str:
    """Read a folder of images with one as the seed makes it.

    See `tokenjax.reliability.fuzz`.
    """
    random = np.random.default_rng(seed)
    root = directory / "set"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
    whole = [_pixels(random) for _ in range(3)]
    for name, pixels in zip(
        ("cat/0.png", "cat/1.png", "dog/0.png"), whole, strict=True
    ):
        (root / name).write_bytes(_encoded(pixels, "PNG"))
    names = (
        "dog/1.png",
        "dog/1.jpg",
        "dog/-1 \u00e9.PNG",
        "dog/a\nb.jpeg",
        "dog/d/1.png",
    )
    path = root / names[random.integers(len(names))]
    path.parent.mkdir(exist_ok=True)
    kinds = list(KINDS)
    kind = kinds[random.integers(len(kinds))]
    expected, must_refuse = KINDS[kind](path, random)
    skip = bool(random.integers(2))
    try:
        dataset = data.load(
            {
                "source": "image_folder",
                "directory": str(root),
                "image_size": SIZE,
                "validation_fraction": 0.0,
                "test_fraction": 0.0,
                "cache_bytes": int(random.choice([0, 2**20])),
                "num_threads": 1,
                "broken": "skip" if skip else "refuse",
            }
        )
        batch = dataset.train.gather(np.arange(len(dataset.train)))
    except DatasetError as error:
        if expected is not None or (skip and kind in SKIPPED):
            raise AssertionError(f"{kind} refused: {error}") from error
        return f"refused: {kind}: {error}"
    _check(batch, whole, expected, must_refuse, kind)
    return f"handled: {kind}, {len(batch['label'])} images"


def _check(
    batch: dict[str, np.ndarray],
    whole: list[Pixels],
    expected: Pixels | None,
    must_refuse: bool,
    kind: str,
) -> None:
    """Raise AssertionError for anything but what stands at the module's head."""
    rows = zip(batch["label"], batch["image"], strict=True)
    found = {(int(label), image.tobytes()) for label, image in rows}
    due = {(label, w.tobytes()) for label, w in zip((0, 0, 1), whole, strict=True)}
    if not due <= found:
        raise AssertionError(f"{kind}: whole images came back changed or not at all")
    if expected is not None:
        due |= {(1, expected.tobytes())}
        if found != due:
            raise AssertionError(f"{kind}: came back as another picture")
    elif must_refuse and len(batch["label"]) > len(whole):
        raise AssertionError(f"{kind}: was read as an image")
    if batch["image"].shape[1:] != (SIZE, SIZE, 3) or batch["image"].dtype != np.uint8:
        raise AssertionError(f"{kind}: {batch['image'].dtype} {batch['image'].shape}")


def _pixels(random: Random) -> Pixels:
    return random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def _encoded(pixels: np.ndarray, kind: str, mode: str = "", **options: object) -> bytes:
    from PIL import Image

    image, file = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def _decoded(content: bytes) -> Pixels:
    """Return what Pillow alone makes of a whole file without an orientation."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def _whole(path: pathlib.Path, random: Random) -> Case:
    """Write any format under any name."""
    kind = str(random.choice(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]))
    content = _encoded(_pixels(random), kind)
    path.write_bytes(content)
    return _decoded(content), False


def _odd_mode(path: pathlib.Path, random: Random) -> Case:
    """Write grey, CMYK, palettes or single bits."""
    kinds = (
        *(("PNG", "L"), ("PNG", "1"), ("PNG", "P"), ("JPEG", "CMYK")),
        *(("TIFF", "CMYK"), ("TIFF", "P"), ("TIFF", "1"), ("GIF", "P")),
    )
    kind, mode = kinds[random.integers(len(kinds))]
    content = _encoded(_pixels(random), kind, mode)
    path.write_bytes(content)
    return _decoded(content), False


def _sixteen_bits(path: pathlib.Path, random: Random) -> Case:
    values = random.integers(0, 2**16, (SIZE, SIZE), np.uint16)
    path.write_bytes(_encoded(values, "PNG"))
    return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2), False


def _transparent(path: pathlib.Path, random: Random) -> Case:
    """Write clear or opaque pixels: the clear ones are white."""
    pixels = _pixels(random)
    clear = random.integers(0, 2, (SIZE, SIZE, 1)).astype(bool)
    alpha = np.where(clear, 0, 255).astype(np.uint8)
    path.write_bytes(_encoded(np.concatenate([pixels, alpha], axis=2), "PNG"))
    return np.where(clear, np.uint8(255), pixels), False


def _turned(path: pathlib.Path, random: Random) -> Case:
    from PIL import Image

    turns: tuple[Callable[[Pixels], Pixels], ...] = (
        lambda p: p,
        lambda p: p[:, ::-1],
        lambda p: p[::-1, ::-1],
        lambda p: p[::-1],
        lambda p: p.swapaxes(0, 1),
        lambda p: np.rot90(p, -1),
        lambda p: p[::-1, ::-1].swapaxes(0, 1),
        lambda p: np.rot90(p, 1),
    )
    number = int(random.integers(8))
    exif, pixels = Image.Exif(), _pixels(random)
    exif[0x0112] = number + 1
    path.write_bytes(_encoded(pixels, "PNG", exif=exif))
    return turns[number](pixels), False


def _animated(path: pathlib.Path, random: Random) -> Case:
    from PIL import Image

    first = _pixels(random)
    more = [Image.fromarray(_pixels(random)) for _ in range(2)]
    path.write_bytes(_encoded(first, "PNG", save_all=True, append_images=more))
    return first, False


def _damaged_png(path: pathlib.Path, random: Random) -> Case:
    """Write a damaged PNG; Pillow alone would read on past it in smooth ones."""
    from tokenjax.data.images.image_sizes import read_rgb

    ramp = np.arange(64)[:, None, None] * random.integers(1, 5, 3) + random.integers(9)
    smooth = np.broadcast_to(ramp, (64, 64, 3)).astype(np.uint8)
    content = _encoded(smooth if random.integers(2) else _pixels(random), "PNG")
    path.write_bytes(content)
    expected = read_rgb(path, SIZE)
    path.write_bytes(damage.damaged(content, random))
    try:  # its last chunk says nothing about the picture: damage there may pass
        got = read_rgb(path, SIZE)
    except DatasetError:
        return None, True
    if not np.array_equal(got, expected):
        raise AssertionError("a damaged PNG came back as another picture")
    return got, False


def _damaged_other(path: pathlib.Path, random: Random) -> Case:
    """Write a damaged file without checksums: another picture may come back."""
    kind = str(random.choice(["JPEG", "GIF", "BMP", "WEBP", "TIFF"]))
    path.write_bytes(damage.damaged(_encoded(_pixels(random), kind), random))
    return None, False


def _truncated_jpeg(path: pathlib.Path, random: Random) -> Case:
    content = _encoded(_pixels(random), "JPEG")
    path.write_bytes(content[: random.integers(len(content) - 30)])
    return None, True


def _bomb(path: pathlib.Path, random: Random) -> Case:
    """Write a header of a billion pixels and more, and a body of none."""
    header = struct.pack(">II", *random.integers(50_000, 2**31, 2)) + b"\x08\0\0\0\0"
    chunk = b"IHDR" + header
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\x0d"
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + damage.damaged(_encoded(_pixels(random), "PNG")[33:], random)
    )
    return None, True


def _no_image(path: pathlib.Path, random: Random) -> Case:
    contents: tuple[bytes, ...] = (
        b"",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n",
    )
    contents += (random.bytes(200), b"<svg/>", _encoded(_pixels(random), "ICO"))
    contents += (
        _encoded(_pixels(random), "PPM"),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
    )
    path.write_bytes(contents[random.integers(len(contents))])
    return None, True


def _no_file(path: pathlib.Path, random: Random) -> Case:
    """Make a pipe, or a link away, to nothing or around."""
    outside = path.parents[2 if path.parent.name != "d" else 3] / "outside.png"
    outside.write_bytes(_encoded(_pixels(random), "PNG"))
    targets = (
        outside,
        path,
        path.with_name("gone"),
        path.parent,
        pathlib.Path("/dev/zero"),
    )
    choice = int(random.integers(len(targets) + 1))
    if choice == len(targets):
        os.mkfifo(path)
    else:
        path.symlink_to(targets[choice])
    return None, True


KINDS: dict[str, Callable[[pathlib.Path, Random], Case]] = {
    "any format": _whole,
    "odd mode": _odd_mode,
    "16 bits": _sixteen_bits,
    "transparent": _transparent,
    "turned": _turned,
    "animated": _animated,
    "damaged PNG": _damaged_png,
    "more damaged PNG": _damaged_png,
    "damaged other": _damaged_other,
    "more damaged other": _damaged_other,
    "truncated JPEG": _truncated_jpeg,
    "bomb": _bomb,
    "no image": _no_image,
    "no file": _no_file,
}
SKIPPED = {name for name in KINDS if name not in ("no file",)}
