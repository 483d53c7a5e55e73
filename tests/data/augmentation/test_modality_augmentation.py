import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.data import augment_modalities
from tokenjax.data.augmentation.modality_augmentation import (
    ERASED_LOG_ASPECT,
    ERASED_SHARE,
    erasing_boxes,
    shift_on_black,
)
from tokenjax.errors import UserError

KEY = jax.random.key(0)
NAMES = ("rgb", "nir", "tir")
OFF = {"flip": 0.0, "crop_padding": 0, "random_erasing": 0.0}
augment = jax.jit(
    augment_modalities,
    static_argnames=("flip", "crop_padding", "random_erasing", "aligned"),
)


def pictures(batch: int = 64, height: int = 24, width: int = 12) -> dict:
    """The same values 0..1, all of one image different, in every modality."""
    count = height * width * 3
    image = np.linspace(0, 1, count, dtype=np.float32).reshape(height, width, 3)
    return {name: np.tile(image, (batch, 1, 1, 1)) for name in NAMES}


def same(left, right) -> np.ndarray:
    """Which samples of two modalities are equal (batch,)."""
    return np.asarray((left == right).all(axis=(1, 2, 3)))


def test_a_recorded_erasing_is_reproduced(golden):
    case = golden("reid/random_erasing")
    image = case["input/image"].transpose(1, 2, 0)  # (height, width, 3)
    height, width, _ = image.shape
    top, left, rows, columns = case["output/box"]
    room = np.array([height - rows + 1, width - columns + 1])
    boxes = erasing_boxes(
        jnp.asarray(case["input/area_fraction"])[None],
        jnp.asarray(case["input/log_aspect"])[None],
        jnp.asarray((case["input/top_left"] + 0.5) / room)[None],
        height,
        width,
    )
    expected = np.zeros((1, height, width, 1), bool)
    expected[0, top : top + rows, left : left + columns] = True
    assert np.array_equal(boxes, expected)
    noise = np.zeros_like(image)
    noise[boxes[0, ..., 0]] = case["input/pixels"].transpose(1, 2, 0).reshape(-1, 3)
    erased = np.where(boxes[0], noise, image)
    assert np.array_equal(erased.transpose(2, 0, 1), case["output/erased"])


def test_boxes_reach_every_border_and_never_fill_a_side():
    random = np.random.default_rng(0)
    shares = random.uniform(*ERASED_SHARE, (500, 10))
    aspects = random.uniform(*ERASED_LOG_ASPECT, (500, 10))
    corners = random.choice([0.0, np.nextafter(np.float32(1), 0)], (500, 2))
    arrays = [jnp.asarray(each, jnp.float32) for each in (shares, aspects, corners)]
    box = np.asarray(erasing_boxes(*arrays, 30, 20))[..., 0]
    rows, columns = box.any(axis=2), box.any(axis=1)
    assert np.array_equal(rows[:, 0], corners[:, 0] == 0)
    assert np.array_equal(rows[:, -1], corners[:, 0] > 0)
    assert np.array_equal(columns[:, 0], corners[:, 1] == 0)
    assert np.array_equal(columns[:, -1], corners[:, 1] > 0)
    # Whole boxes: what the corners place outside is not cut off.
    heights, widths = rows.sum(axis=1), columns.sum(axis=1)
    first = [np.sqrt(shares * 600 * np.exp(sign * aspects)) for sign in (1, -1)]
    sides = np.round(np.stack(first, axis=-1))
    for sample in range(500):
        fitting = [side for side in sides[sample] if (side < (30, 20)).all()]
        assert (heights[sample], widths[sample]) == tuple(fitting[0])


def test_boxes_that_never_fit_erase_nothing():
    shares = jnp.full((1, 10), 0.33)
    boxes = erasing_boxes(shares, jnp.full((1, 10), 1.2), jnp.zeros((1, 2)), 8, 16)
    assert not boxes.any()


def test_a_shift_brings_in_black():
    image = pictures(1, 4, 5)["rgb"]
    moved = np.asarray(shift_on_black(image, jnp.array([[1, -2]]), 3))
    assert np.array_equal(moved[0, 1:, :3], image[0, :3, 2:])
    assert (moved[0, :1] == -1).all()
    assert (moved[0, :, 3:] == -1).all()


def test_aligned_modalities_share_flip_crop_and_box_but_not_noise():
    images = pictures()
    moved = augment(KEY, images, random_erasing=0.0, crop_padding=4)
    for name in NAMES[1:]:
        assert np.array_equal(moved[name], moved["rgb"])
    assert len({sample.tobytes() for sample in np.asarray(moved["rgb"])}) > 40

    erased = augment(KEY, images, **OFF | {"random_erasing": 0.5})
    boxes = {name: np.asarray(erased[name] != images[name]) for name in NAMES}
    for name in NAMES[1:]:
        assert np.array_equal(boxes[name], boxes["rgb"])
        inside = boxes["rgb"]
        assert not np.any(np.asarray(erased[name] == erased["rgb"])[inside])
    share = boxes["rgb"].any(axis=(1, 2, 3)).mean()
    assert 0.3 < share < 0.7
    values = np.concatenate([np.asarray(erased[name])[boxes[name]] for name in NAMES])
    assert abs(values.mean()) < 0.05  # standard normal
    assert abs(values.std() - 1) < 0.05


@pytest.mark.parametrize("one", OFF)
def test_otherwise_each_modality_has_its_own_draws(one):
    images = pictures()
    setting = OFF | {one: 4 if one == "crop_padding" else 0.5}
    changed = augment(KEY, images, aligned=False, **setting)
    pairs = [same(changed["rgb"], changed["nir"]), same(changed["rgb"], changed["tir"])]
    assert all((~pair).any() for pair in pairs)
    assert not np.array_equal(*pairs)
    if one == "random_erasing":
        touched = [~same(changed[name], images[name]) for name in NAMES]
        assert not np.array_equal(touched[0], touched[1])


def test_flips_and_crops_are_drawn_evenly():
    images = pictures(600)
    flipped = augment(KEY, images, **OFF | {"flip": 0.25})["rgb"]
    mirrored = same(flipped, images["rgb"][:, :, ::-1])
    assert np.array_equal(mirrored, ~same(flipped, images["rgb"]))
    assert 0.2 < mirrored.mean() < 0.3

    moved = np.asarray(augment(KEY, images, **OFF | {"crop_padding": 2})["rgb"])
    black = (moved == -1).all(axis=3)
    down = black.all(axis=2)  # (batch, rows)
    offsets = down[:, :2].sum(axis=1) - down[:, -2:].sum(axis=1)
    counts = np.bincount(offsets + 2, minlength=5) / 600
    assert (np.abs(counts - 0.2) < 0.06).all()


def test_the_order_of_the_dict_does_not_matter_and_is_kept():
    arrays = pictures(8)

    def ordered(*names):
        # Within jit: what passes through it is sorted by name.
        def run(key):
            images = {name: jnp.asarray(arrays[name]) for name in names}
            result = augment_modalities(key, images, random_erasing=0.0, aligned=False)
            assert tuple(result) == names
            return result

        return jax.jit(run)(KEY)

    forward, backward = ordered(*NAMES), ordered(*reversed(NAMES))
    for name in NAMES:
        assert np.array_equal(forward[name], backward[name])
    assert not same(forward["rgb"], forward["tir"]).all()


def test_all_off_changes_nothing_and_keys_change_everything():
    images = pictures(16)
    untouched = augment(KEY, images, **OFF)
    first, second = augment(KEY, images), augment(jax.random.key(1), images)
    for name in NAMES:
        assert np.array_equal(untouched[name], images[name])
        assert not same(first[name], second[name]).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"flip": 1.5}, "flip is a probability.*1.5"),
        ({"random_erasing": -0.1}, "random_erasing is a probability"),
        ({"crop_padding": -1}, "crop_padding must be 0 or more"),
    ],
)
def test_values_out_of_range(setting, message):
    with pytest.raises(UserError, match=message):
        augment_modalities(KEY, pictures(1), **setting)
