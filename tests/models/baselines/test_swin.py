"""The Swin transformer against timm's."""

import helpers.peer_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import backbone_checks
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models
from tokenjax.models.baselines import windows
from tokenjax.models.baselines.swin_attention import window_regions

SMALL = {
    "img_size": 16,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": (2, 1),
    "num_heads": (1, 2),
    "window_size": 4,
    "num_classes": 3,
}


@pytest.fixture(scope="module")
def recorded(golden):
    return checks.recorded_case("swin_tiny", golden("peers/swin"))


def small(**more):
    return models.create("swin_tiny", **SMALL | more)


def test_logits_and_gradients(recorded, assert_close):
    checks.logits_and_gradients(*recorded, assert_close)


def test_conversion_is_exact_both_ways(recorded):
    backbone_checks.conversion_is_exact(*recorded[:2])
    model = small(qkv_bias=False)
    state = convert.to_torch(model, drawn_variables(model, *model.example_inputs(1)))
    assert not any(key.endswith("qkv.bias") for key in state)
    again = convert.to_torch(model, convert.from_torch(model, state))
    jax.tree.map(np.testing.assert_array_equal, again, state)


def test_training():
    rates = ("drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")
    model = small(depths=(2,), num_heads=(1,), qkv_bias=False)
    checks.trains(model.clone(**dict.fromkeys(rates, 0.3)))


@pytest.mark.parametrize("kind", ["window", "grid"])
def test_partitions_take_the_places_they_say(kind):
    rows, columns, size = 6, 8, (2, 4)
    maps = np.arange(2 * rows * columns * 3).reshape(2, rows, columns, 3)
    partition = getattr(windows, f"{kind}_partition")
    groups = partition(jnp.asarray(maps), size)
    assert groups.shape == (2 * 6, 8, 3)
    for group in range(12):
        image, across, down = group // 6, group % 2, group % 6 // 2
        block = (
            maps[image, 2 * down : 2 * down + 2, 4 * across : 4 * across + 4]
            if kind == "window"
            else maps[image, down::3, across::2]
        )
        np.testing.assert_array_equal(groups[group], block.reshape(8, 3))
    back = getattr(windows, f"{kind}_reverse")(groups, size, (rows, columns))
    np.testing.assert_array_equal(back, maps)
    with pytest.raises(ValueError, match="a map of 6x8 is not whole groups of 4x4"):
        partition(jnp.asarray(maps), (4, 4))


def test_relative_position_index():
    index = windows.relative_position_index((2, 3))
    assert index.shape == (6, 6)
    assert set(index.ravel().tolist()) == set(range(3 * 5))
    assert (np.diag(index) == 7).all()  # no offset: the middle row of the table
    assert index[5, 0] == 14  # from the first place down and two to the right
    assert index[1, 0] == index[4, 3] == 8


def test_windows_of_a_shifted_map_keep_opposite_edges_apart():
    regions = window_regions((8, 4), (4, 4), (1, 2))
    together = regions[:, :, None] == regions[:, None]  # (g, n, n)
    halves = np.arange(16) % 4 < 2
    across = halves[:, None] == halves
    np.testing.assert_array_equal(together[0], across)
    above = np.arange(16) < 12
    np.testing.assert_array_equal(together[1], across & (above[:, None] == above))
    assert len(np.unique(window_regions((8, 4), (4, 4), (2, 0))[0])) == 1


def test_a_small_map_is_one_window():
    model = small(window_size=(4, 16))
    assert model._window((8, 8), shifted=True) == ((4, 8), (2, 0))
    assert model._window((3, 8), shifted=True) == ((3, 8), (0, 0))
    assert model._window((8, 20), shifted=False) == ((4, 16), (0, 0))


@pytest.mark.parametrize(
    ("name", "expected"), [("swin_tiny", 28_288_354), ("swin_base", 87_768_224)]
)
def test_the_published_sizes(name, expected):
    assert backbone_checks.number_of_parameters(models.create(name)) == expected


def test_the_size_of_the_images_is_free():
    at_512 = models.create("swin_tiny", img_size=512)
    assert backbone_checks.number_of_parameters(at_512) == 28_288_354
    model = small(img_size=(9, 15))
    images = jnp.ones((1, 9, 15, 3))
    variables = drawn_variables(model, images)
    logits, _ = jax.jit(model.apply)(variables, images)
    cut, _ = jax.jit(small(img_size=(8, 14)).apply)(variables, images[:, :8, :14])
    np.testing.assert_allclose(logits, cut, atol=1e-6)
    with pytest.raises(ValueError, match=r"\(batch, 9, 15, 3\).*got \(1, 15, 9, 3\)"):
        jax.eval_shape(model.apply, variables, images.swapaxes(1, 2))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_heads": (3, 2)}, "channels of each stage, .* must divide by"),
        ({"num_heads": (1,)}, "depths and num_heads must be of as many stages"),
        ({"depths": (2, 0)}, "depths must be at least 1"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate must be within \[0, 1\)"),
        ({"img_size": 1}, "img_size must be at least patch_size, 2"),
        ({"window_size": 0}, "window_size must be at least 1"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)
