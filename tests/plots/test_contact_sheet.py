"""Pictures with what was predicted, and what was looked at."""

import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn
from PIL import Image

from tokenjax import plots

RNG = np.random.default_rng(0)


def sheet(path, count, maps=None, **more):
    images = RNG.integers(0, 256, (count, 12, 16, 3), np.uint8)
    titles = [f"class {number} 50%" for number in range(count)]
    captions = ["a_$long$_name_of_a_file.png"] * count
    arguments = {"titles": titles, "captions": captions, "maps": maps, **more}
    return plots.contact_sheet(images, path=path, **arguments)


@pytest.mark.parametrize("count", [1, 3, 9])
@pytest.mark.parametrize("with_maps", [False, True])
def test_it_is_drawn(path, count, with_maps):
    maps = RNG.uniform(size=(count, 16)) if with_maps else None
    assert_drawn(path, sheet(path, count, maps))


def test_maps_stand_beside_the_pictures(path):
    plain, beside = path.with_name("plain.png"), path
    sheet(plain, 2)
    sheet(beside, 2, np.zeros((2, 4)))
    with Image.open(plain) as one, Image.open(beside) as two:
        assert two.width > 1.6 * one.width


def test_what_will_not_do(path):
    for more, part in (
        ({"titles": ["one"]}, "2 images, 1 titles"),
        ({"maps": np.zeros((2, 5))}, "maps must be"),
        ({"maps": np.full((2, 4), -1.0)}, "not negative"),
        ({"maps": np.full((2, 4), np.nan)}, "finite"),
    ):
        with pytest.raises(ValueError, match=part):
            sheet(path, 2, **more)
    assert not path.exists()
