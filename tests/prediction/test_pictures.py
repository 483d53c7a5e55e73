"""Pictures of any size and kind become what the network takes."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.loadable import CLASSES, IMAGES, save_pictures, save_weights
from helpers.small_models import small
from PIL import Image

import tokenjax
from tokenjax.data import Reading
from tokenjax.data.images.image_sizes import read_picture, read_resized, read_rgb
from tokenjax.errors import BrokenImageError, DatasetError, UserError
from tokenjax.prediction.pictures import Preparation, read_ahead

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    directory = tmp_path_factory.mktemp("weights") / "vit"
    save_weights(directory, "vit", small("vit"), classes=CLASSES)
    return tokenjax.load(directory, batch_size=4)


def colours(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def test_files_and_arrays_and_images(predictor, tmp_path):
    paths = save_pictures(tmp_path)
    whole = predictor.preprocess(paths)
    assert whole.shape == (28, 16, 16, 3)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(whole[5:6], predictor.preprocess(str(paths[5])))
    opened = [Image.open(path) for path in paths if path.suffix == ".png"]
    pngs = [row for row, path in enumerate(paths) if path.suffix == ".png"]
    np.testing.assert_array_equal(whole[pngs], predictor.preprocess(opened))
    grey = np.asarray(Image.open(paths[1]))
    assert grey.shape == (23, 17)
    for array in (grey, grey[..., None], np.repeat(grey[..., None], 3, 2)):
        np.testing.assert_array_equal(predictor.preprocess(array)[0], whole[1])
    clear = np.asarray(Image.open(paths[2]))
    assert clear.shape == (64, 64, 4)
    np.testing.assert_array_equal(predictor.preprocess(clear)[0], whole[2])


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((9, 30), 1),
        ((9, 30, 1), 1),
        ((9, 30, 4), 1),
        ((5, 9, 30), 5),
        ((5, 9, 30, 3), 5),
        ((5, 16, 16, 3), 5),
        ((1, 16, 16, 1), 1),
    ],
)
def test_one_array_or_a_batch(predictor, shape, count):
    array = colours(*shape)
    images = predictor.preprocess(array)
    assert images.shape == (count, 16, 16, 3)
    if shape[1:] == (16, 16, 3):
        np.testing.assert_array_equal(images, array)
    np.testing.assert_array_equal(images, predictor.preprocess(jnp.asarray(array)))


def test_16_bits_keep_the_upper_8(predictor):
    array = colours(20, 20)
    deep = array.astype(np.uint16) << 8
    np.testing.assert_array_equal(
        predictor.preprocess(deep), predictor.preprocess(array)
    )


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (np.zeros((16, 16, 3), np.float32), "got float32 (16, 16, 3)"),
        (np.zeros((0, 4, 3), np.uint8), "got uint8 (0, 4, 3)"),
        (np.zeros((2, 9, 9, 2), np.uint8), "1, 3 or 4 channels, got 2"),
        (np.zeros((1, 2, 3, 4, 5), np.uint8), "got uint8 (2, 3, 4, 5)"),
        (np.zeros(7, np.uint8), "got uint8"),
        ([3], "got int"),
        ([], "no pictures are given"),
    ],
)
def test_what_is_no_picture(predictor, given, part):
    for ask in (predictor.preprocess, predictor.predict):
        with pytest.raises(UserError) as caught:
            ask(given)
        assert part in str(caught.value)


def test_broken_files(predictor, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    (good, *_) = save_pictures(tmp_path, ("bee",))
    for ask in (predictor.preprocess, predictor.predict):
        with pytest.raises(BrokenImageError, match=r"x\.png is not a readable image"):
            ask([good, tmp_path / "x.png"])
        with pytest.raises(DatasetError, match=r"gone\.jpg cannot be opened"):
            ask(tmp_path / "gone.jpg")
        with pytest.raises(DatasetError, match="no file"):
            ask(tmp_path)


def test_they_are_read_in_order_and_ahead(tmp_path):
    paths = save_pictures(tmp_path)
    paths.insert(9, tmp_path / "gone.png")
    preparation = Preparation((8, 8, 3), Reading())
    found = list(read_ahead(paths, preparation))
    assert [isinstance(each, DatasetError) for each in found] == [
        path.name == "gone.png" for path in paths
    ]
    for path, image in zip(paths, found, strict=True):
        if path.name != "gone.png":
            np.testing.assert_array_equal(image, read_rgb(path, 8))


def test_sizes_that_are_no_squares(tmp_path):
    """As re-identification reads them, and as a classifier would."""
    (path, *_) = save_pictures(tmp_path, ("bee",))
    stretched = Reading(interpolation="bilinear", stretch=True)
    np.testing.assert_array_equal(
        read_picture(path, (12, 5, 3), stretched),
        read_resized(path, 12, 5, "bilinear")[0],
    )
    across, down = np.meshgrid(np.arange(40) * 6, np.arange(30) * 8)
    slopes = np.stack([across, down, across // 2 + down // 2], -1).astype(np.uint8)
    Image.fromarray(slopes).save(tmp_path / "slopes.png")
    for crop, left, top in ((1.0, 10, 0), (0.5, 15, 7.5)):
        found = read_picture(tmp_path / "slopes.png", (12, 8, 3), Reading(crop))
        width, height = 40 - 2 * left, 30 - 2 * top
        columns = 6 * (left - 0.5 + (np.arange(8) + 0.5) * width / 8)
        rows = 8 * (top - 0.5 + (np.arange(12) + 0.5) * height / 12)
        inner = np.s_[1:-1, 1:-1]
        assert np.abs(found[..., 0] - columns[None])[inner].max() < 2
        assert np.abs(found[..., 1] - rows[:, None])[inner].max() < 2


def test_what_the_card_says_of_reading(tmp_path):
    """Crop and interpolation reach the network."""
    module = small("vit")
    (path, *_) = save_pictures(tmp_path, ("bee",))
    images = {**vars(IMAGES), "crop": 0.5, "interpolation": "nearest"}
    directory = save_weights(
        tmp_path / "weights", "vit", module, images=type(IMAGES)(**images)
    )
    found = tokenjax.load(directory).preprocess(path)
    expected = read_rgb(path, 16, reading=Reading(0.5, "nearest"))
    np.testing.assert_array_equal(found[0], expected)
    assert not np.array_equal(expected, read_rgb(path, 16))
