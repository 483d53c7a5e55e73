import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import training_runs
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tokenjax.data import Augmentation, Mixed, mix
from tokenjax.data.augmentation.holes import cut_out
from tokenjax.data.augmentation.mixing import cutmix, mixup
from tokenjax.errors import UserError

HEIGHT, WIDTH = 12, 20
cutmix_jitted = jax.jit(cutmix)  # share and centre are traced


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.fixture(scope="module")
def case(golden):
    return golden("cifar_vit/mixing")


def channels_last(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, -3, -1)


def test_mixup_is_the_recorded_one(case):
    images, share = channels_last(case["input/images"]), np.float32(case["input/lam"])
    result = jax.jit(mixup)(images, case["input/index"], share)
    expected = channels_last(case["output/mixup_images"])
    assert np.allclose(result, expected, atol=1e-6)
    assert result.dtype == jnp.float32


def test_cutmix_is_the_recorded_one(case):
    images, share = channels_last(case["input/images"]), np.float32(case["input/lam"])
    index, centre = case["input/index"], case["input/center_xy"]
    result, corrected = cutmix_jitted(images, index, centre, share)
    expected = channels_last(case["output/cutmix_images"])
    assert np.array_equal(result, expected)
    assert corrected == pytest.approx(float(case["output/cutmix_lam"]), abs=1e-6)
    left, top, right, bottom = case["output/cutmix_box"]
    changed = (np.asarray(result) != images).any(axis=(0, 3))
    assert changed[top:bottom, left:right].all()
    assert changed.sum() == (bottom - top) * (right - left)


def test_cutout_is_the_recorded_one(case):
    image = channels_last(case["input/images"])[:1]
    arguments = case.meta["constructor_args"]
    (centre,) = case["input/cutout_center_yx"]
    centres = (centre + 0.5)[None] / [arguments["height"], arguments["width"]]
    result = cut_out(image, jnp.asarray(centres), arguments["cutout_length"], 0.0)
    assert np.array_equal(result[0], channels_last(case["output/cutout_image"]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 15), st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1))
def test_cutout_cuts_the_box_of_the_originals_formula(length, row, column):
    image = random_images(1, HEIGHT, WIDTH, 2)
    expected = image.copy()
    top, bottom = np.clip([row - length // 2, row + length // 2], 0, HEIGHT)
    left, right = np.clip([column - length // 2, column + length // 2], 0, WIDTH)
    expected[:, top:bottom, left:right] = 7
    centres = (jnp.array([[row, column]]) + 0.5) / jnp.array([HEIGHT, WIDTH])
    assert np.array_equal(cut_out(image, centres, length, 7, even=True), expected)
    if length % 2 == 0:  # the recorded length is one of these
        assert np.array_equal(cut_out(image, centres, length, 7), expected)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0, 1, width=32),
    st.integers(0, WIDTH - 1),
    st.integers(0, HEIGHT - 1),
    st.permutations(range(4)),
)
def test_cutmix_pastes_the_box_of_its_formula(share, column, row, permutation):
    root = float(np.sqrt(1 - np.float64(share)))
    sides = np.array([HEIGHT * root, WIDTH * root])
    # A side within rounding of a whole number may be cut to either in 32 bits.
    assume((np.abs(sides - np.round(sides)) > 1e-4).all() or share in (0, 1))
    half = sides.astype(int) // 2
    top, left = max(row - half[0], 0), max(column - half[1], 0)
    bottom, right = min(row + half[0], HEIGHT), min(column + half[1], WIDTH)
    images, permutation = random_images(4, HEIGHT, WIDTH, 2), np.array(permutation)
    expected = images.copy()
    box = np.s_[:, top:bottom, left:right]
    expected[box] = images[permutation][box]
    centre = np.array([column, row])
    result, left_over = cutmix_jitted(images, permutation, centre, np.float32(share))
    assert np.array_equal(result, expected)
    own = 1 - (bottom - top) * (right - left) / (HEIGHT * WIDTH)
    assert left_over == pytest.approx(own, abs=1e-6)


BATCH = 8
LABELS = np.arange(BATCH) + 10
SHAPE = (BATCH, 8, 10, 1)
# Every pixel says which image it is from.
NUMBERED = np.broadcast_to(np.arange(BATCH)[:, None, None, None], SHAPE).astype("f4")


@pytest.fixture(scope="module")
def mix_both():
    both = Augmentation(mixup=0.8, cutmix=1)
    return jax.jit(lambda key, images, labels: mix(key, images, labels, both))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_labels_and_share_say_what_the_images_are(mix_both, seed):
    key = jax.random.key(seed)
    images, other_labels, share = map(np.asarray, mix_both(key, NUMBERED, LABELS))
    assert images.shape == SHAPE
    assert images.dtype == share.dtype == np.float32
    assert 0 <= share <= 1
    other = np.asarray(other_labels) - 10
    assert set(other) == set(range(BATCH))
    whole = images == np.round(images)
    if whole.all():  # cutmix, or none: every pixel is one of both
        own = images == NUMBERED
        assert (own | (images == NUMBERED[other])).all()
        fraction = own.mean(axis=(1, 2, 3))
        # An image paired with itself has its own pixels everywhere.
        fraction = fraction[other != np.arange(BATCH)]
        assert np.allclose(fraction, share, atol=1e-6)
    else:
        expected = share * NUMBERED + (1 - share) * NUMBERED[other]
        assert np.allclose(images, expected, atol=1e-5)
    again = mix_both(key, NUMBERED, LABELS)
    assert all(map(np.array_equal, again, (images, other_labels, share)))


def shares(count: int, **chosen) -> np.ndarray:
    # With so large an alpha, shares tell what was done: mixup's are all about 1/2;
    # cutmix's box has half the pixels at most, cut off a quarter of that at least.
    chosen = Augmentation(**chosen)
    keys = jax.random.split(jax.random.key(1), count)
    run = jax.vmap(lambda key: mix(key, NUMBERED, LABELS, chosen).share)
    return np.asarray(jax.jit(run)(keys))


@pytest.mark.parametrize(
    ("chosen", "mixups", "cutmixes"),
    [
        ({"mixup": 1e4, "cutmix": 1e4}, 0.5, 0.25),
        ({"cutmix": 1e4, "cutmix_probability": 0.8}, 0.0, 0.8),
    ],
    ids=["both", "cutmix"],
)
def test_each_way_has_its_probability(chosen, mixups, cutmixes):
    count = 2000
    drawn = shares(count, **chosen)
    by_mixup = (np.abs(drawn - 0.5) < 0.04).mean()
    by_cutmix = ((drawn > 0.54) & (drawn < 1)).mean()
    for actual, expected in ((by_mixup, mixups), (by_cutmix, cutmixes)):
        bound = 4.5 * np.sqrt(expected * (1 - expected) / count)
        assert abs(actual - expected) <= bound
    assert by_mixup + by_cutmix + (drawn == 1).mean() == pytest.approx(1)


def test_shares_follow_the_beta_distribution():
    drawn = shares(2000, mixup=0.4, cutmix=1e4, mixup_probability=1.0)
    # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1))
    assert drawn.mean() == pytest.approx(0.5, abs=0.035)
    assert drawn.var() == pytest.approx(1 / 7.2, rel=0.06)


def test_off_traces_nothing_and_only_one_way_is_run():
    images, key = random_images(*SHAPE), jax.random.key(0)
    off = mix(key, images, LABELS, Augmentation())
    assert off.images is images
    assert off.other_labels is LABELS
    assert off.share == 1
    for chosen, ways in (({"mixup": 1.0}, 2), ({"mixup": 1.0, "cutmix": 0.5}, 3)):
        chosen = Augmentation(**chosen)
        traced = jax.make_jaxpr(lambda k, s=chosen: mix(k, images, LABELS, s))(key)
        (switch,) = [e for e in traced.eqns if e.primitive.name == "cond"]
        assert len(switch.params["branches"]) == ways


def test_compiles_once_and_keeps_types():
    traces = []
    chosen = Augmentation(mixup=0.2, cutmix=1.0)

    @jax.jit
    def run(key, images, labels):
        traces.append(None)
        return mix(key, images, labels, chosen)

    images = jnp.asarray(random_images(*SHAPE), jnp.bfloat16)
    results = [run(jax.random.key(seed), images, LABELS) for seed in range(8)]
    assert len(traces) == 1
    assert len({float(result.share) for result in results}) > 3
    assert all(isinstance(result, Mixed) for result in results)
    assert {result.images.dtype for result in results} == {jnp.dtype(jnp.bfloat16)}


SHARDED = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tokenjax.data import Augmentation, mix

both = Augmentation(mixup=1.0, cutmix=1.0)
run = jax.jit(lambda key, images, labels: mix(key, images, labels, both))
images, labels = np.random.default_rng(0).random((8, 6, 6, 1), np.float32), np.arange(8)
split = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
for seed in range(6):
    key = jax.random.key(seed)
    there = run(key, *jax.device_put((images, labels), split))
    here = run(key, images, labels)
    assert there.images.sharding.num_devices == 4
    for ours, expected in zip(there, here):
        assert np.allclose(ours, expected, atol=1e-6), seed
    print("mixed" if here.share < 1 else "plain")
"""


def test_a_batch_over_four_devices_is_mixed_as_on_one():
    four = training_runs.environment(
        XLA_FLAGS="--xla_force_host_platform_device_count=4"
    )
    command = [sys.executable, "-c", SHARDED]
    finished = subprocess.run(command, env=four, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("mixed") > 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mixups": 0.2}, "unknown augmentation 'mixups', did you mean 'mixup'"),
        ({"mixup": -0.2}, "augmentation mixup must be at least 0, got -0.2"),
        ({"cutmix": -1}, "augmentation cutmix must be at least 0, got -1"),
        (
            {"mixup_probability": 1.5},
            r"augmentation mixup_probability must be within \[0, 1\], got 1.5",
        ),
        (
            {"cutmix_probability": 2},
            r"cutmix_probability must be within \[0, 1\], got 2",
        ),
        ({"random_erasing": 1.01}, r"random_erasing must be within \[0, 1\], got 1.01"),
        ({"rand_augment": 1.5}, "rand_augment must be int, got 1.5"),
        (
            {"rand_augment_magnitude": 31},
            "magnitude must be at least 0 and at most 30, got 31",
        ),
        ({"cutout_holes": -1}, "cutout_holes must be at least 0, got -1"),
    ],
)
def test_bad_settings_are_refused(config, message):
    with pytest.raises(UserError, match=message):
        Augmentation.from_config(config)
