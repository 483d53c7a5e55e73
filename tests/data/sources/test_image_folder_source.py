import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tokenjax import data
from tokenjax.data.images.image_sizes import fit_array, read_rgb
from tokenjax.errors import DatasetError

RED = (200, 30, 40)


def save(path: Path, mode: str = "RGB", colour=RED, size=(24, 16), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("cat", "dog", "owl")):
        for index in range(10):
            colour = (label * 100, index * 20, 7)
            save(tmp_path / name / f"{index}.png", colour=colour)
    return tmp_path


def load(folder, **arguments):
    config = {"source": "image_folder", "directory": str(folder), "image_size": 8}
    return data.load(config | arguments)


def colours(split) -> list[tuple[int, int]]:
    """(label, number) that `folder` painted into each image of a split."""
    batch = split.gather(np.arange(len(split)))
    pixels = batch["image"][:, 4, 4].astype(int)
    assert np.array_equal(pixels[:, 0] // 100, batch["label"])
    return [(int(red) // 100, int(green) // 20) for red, green, _ in pixels]


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_a_flat_folder_is_divided_by_class(folder, cache_bytes):
    (folder / "cat" / "Thumbs.db").write_bytes(b"not an image")
    (folder / "cat" / "._0.png").write_bytes(b"not an image")
    (folder / ".cache").mkdir()
    dataset = load(
        folder, validation_fraction=0.2, test_fraction=0.3, cache_bytes=cache_bytes
    )
    assert type(dataset.train) is (data.ArraySplit if cache_bytes else data.LazySplit)
    assert dataset.info.class_names == ("cat", "dog", "owl")
    assert dataset.info.image_shape == (8, 8, 3)
    counts = {name: count.tolist() for name, count in dataset.info.counts.items()}
    assert counts == {"train": [5] * 3, "validation": [2] * 3, "test": [3] * 3}
    seen = [pair for part in counts for pair in colours(dataset.split(part))]
    assert sorted(seen) == [(label, index) for label in range(3) for index in range(10)]


def test_decoding_on_demand_gives_the_same_batches(folder):
    indices = np.array([3, 0, 3, 11])
    now = load(folder).train.gather(indices)
    later = load(folder, cache_bytes=0, num_threads=2).train.gather(indices)
    assert np.array_equal(now["image"], later["image"])
    assert np.array_equal(now["label"], later["label"])


@pytest.mark.parametrize("validation", ["val", "validation", None])
def test_parts_with_folders_of_their_own(folder, tmp_path_factory, validation):
    root = tmp_path_factory.mktemp("parts")
    folder.rename(root / "train")
    for index in range(2):
        save(root / "test" / "owl" / "deeper" / f"{index}.JPEG", format="JPEG")
        if validation:
            save(root / validation / "cat" / f"{index}.png")
    dataset = load(root, validation_fraction=0.1, test_fraction=0.5)
    counts = {name: count.tolist() for name, count in dataset.info.counts.items()}
    assert counts == {
        "train": [10 if validation else 9] * 3,
        "validation": [2, 0, 0] if validation else [1, 1, 1],
        "test": [0, 0, 2],
    }


def test_a_lone_training_folder_is_divided(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    folder.rename(root / "train")
    assert load(root).info.class_names == ("cat", "dog", "owl")


def test_train_may_be_a_class_of_vehicles(folder):
    save(folder / "train" / "steam" / "0.png")
    assert load(folder).info.class_names == ("cat", "dog", "owl", "train")


def test_a_class_that_training_lacks_is_refused(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    folder.rename(root / "train")
    save(root / "test" / "cats" / "0.png")
    with pytest.raises(DatasetError, match="did you mean 'cat'"):
        load(root)


def test_missing_and_empty_folders(folder, tmp_path):
    with pytest.raises(DatasetError, match="nowhere is not a directory"):
        load(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"no sub-folder.*; the images right in it"):
        load(folder / "cat")
    (folder / "yak").mkdir()
    with pytest.raises(DatasetError, match="yak"):
        load(folder)


def test_every_corrupt_file_is_named_at_once(folder):
    whole = save(folder / "cat" / "a.jpg", size=(200, 200)).read_bytes()
    (folder / "cat" / "a.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "dog" / "b.png").write_bytes(b"")
    png = (folder / "owl" / "0.png").read_bytes()
    (folder / "owl" / "0.png").write_bytes(png[:50])
    with pytest.raises(DatasetError, match="3 of 32 images") as error:
        load(folder)
    assert all(name in str(error.value) for name in ("a.jpg", "b.png", "0.png"))
    for index in range(12):
        (folder / "owl" / f"broken{index:02}.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"15 of 44 images .* and 5 more"):
        load(folder)


def test_decoding_on_demand_checks_headers_first_and_pixels_later(folder):
    broken = folder / "dog" / "3.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(broken)
    broken.write_bytes(broken.read_bytes()[:2000])
    arguments = {"cache_bytes": 0, "validation_fraction": 0.0, "test_fraction": 0.0}
    with pytest.raises(DatasetError, match=r"3\.png is not a readable image"):
        load(folder, **arguments)  # met while the mean is measured
    broken.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"1 of 30 images .*3\.png"):
        load(folder, **arguments)


def grey16(path: Path) -> Path:
    Image.fromarray(np.full((16, 16), 0x8040, np.uint16)).save(path)
    return path


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda p: save(p / "x.png", "L", 90), (90, 90, 90)),
        (lambda p: save(p / "x.png", "1", 1), (255, 255, 255)),
        (lambda p: save(p / "x.png", "LA", (90, 0)), (255, 255, 255)),
        (lambda p: save(p / "x.png", "RGBA", (*RED, 255)), RED),
        (lambda p: save(p / "x.png", "RGBA", (*RED, 0)), (255, 255, 255)),
        (lambda p: save(p / "x.jpg", "CMYK", (0, 255, 255, 0)), (254, 0, 0)),
        (lambda p: save(p / "x.jpg", "L", 90), (90, 90, 90)),
        (lambda p: grey16(p / "x.png"), (128, 128, 128)),
        (lambda p: save(p / "x.tif", "CMYK", (0, 255, 255, 0)), (254, 0, 0)),
        (lambda p: save(p / "x.tif", "RGBA", (*RED, 0)), (255, 255, 255)),
        (lambda p: save(p / "x.tif", "1", 1), (255, 255, 255)),
        (lambda p: save(p / "x.tif", compression="jpeg"), RED),
        (lambda p: grey16(p / "x.tif"), (128, 128, 128)),
        (lambda p: save(p / "x.webp", "RGBA", (*RED, 0)), (255, 255, 255)),
        (lambda p: save(p / "x.gif", "L", 90), (90, 90, 90)),
        (lambda p: save(p / "x.bmp"), RED),
    ],
    ids=[
        *("L", "1", "LA", "RGBA", "clear", "CMYK", "JPEG L", "16 bits", "TIFF CMYK"),
        *("TIFF clear", "TIFF 1", "TIFF JPEG", "TIFF 16 bits", "WebP clear", "GIF"),
        "BMP",
    ],
)
def test_kinds_of_files_become_rgb(tmp_path, write, expected):
    image = read_rgb(write(tmp_path), 8)
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_palettes_become_rgb(tmp_path, kind):
    plain, clear = tmp_path / f"x.{kind}", tmp_path / f"y.{kind}"
    Image.new("RGB", (9, 9), RED).quantize(4).save(plain)
    assert (read_rgb(plain, 4) == RED).all()
    Image.new("RGB", (9, 9), RED).quantize(4).save(clear, transparency=0)
    assert (read_rgb(clear, 4) == 255).all()


def test_files_of_all_kinds_are_listed_by_their_endings(tmp_path):
    endings = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "TIFF")
    for ending in endings:
        for name in ("cat", "dog"):
            save(tmp_path / name / f"x.{ending}")
    dataset = load(tmp_path, validation_fraction=0.0, test_fraction=0.0)
    assert dataset.info.counts["train"].tolist() == [len(endings)] * 2
    images = dataset.train.gather(np.arange(2 * len(endings)))["image"]
    assert np.abs(images.astype(int) - RED).max() <= 3


def test_orientation_is_honoured_and_the_centre_kept(tmp_path):
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, 16:24], pixels[:, 24:32] = 80, 240  # the middle square, left and right
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif, quality=95)
    image = read_rgb(tmp_path / "x.jpg", 16)[..., 0].astype(int)
    assert np.abs(image[:, :6] - 240).max() < 12
    assert np.abs(image[:, 10:] - 80).max() < 12


def test_large_jpegs_shrink_to_the_same_picture(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8), (640, 1))
    Image.fromarray(ramp).save(tmp_path / "x.jpg", quality=95)
    image = read_rgb(tmp_path / "x.jpg", 32)[..., 0].astype(int)
    assert np.abs(image - np.linspace(4, 251, 32)).max() < 4


def test_arrays_fit_without_files():
    image = np.random.default_rng(0).integers(0, 256, (20, 12, 3), np.uint8)
    assert fit_array(image, 8, 3).shape == (8, 8, 3)
    assert fit_array(image[..., :1], 8, 1).shape == (8, 8, 1)
    square = image[:12]
    assert fit_array(square, 12, 3) is square
    deep = np.full((4, 4, 1), 0x7FFF, np.uint16)
    assert (fit_array(deep, 4, 3) == 0x7F).all()


def test_reading_uses_the_threads_asked_for(folder):
    used = set()

    def read(index):
        used.add(threading.current_thread().name)
        return np.zeros((2, 2, 1), np.uint8)

    split = data.LazySplit(read, np.zeros(9, np.int32), (2, 2, 1), num_threads=1)
    split.gather(np.arange(9))
    assert len(used) == 1
