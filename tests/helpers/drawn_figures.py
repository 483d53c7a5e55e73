"""What every figure must be, for the tests that draw them."""

import numpy as np
from PIL import Image


def assert_drawn(path, returned):
    """A PNG of legible size, with ink, and nothing left beside it."""
    assert returned == path
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) >= 250
        pixels = np.asarray(image.convert("RGB"))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert 0.01 < (pixels != 255).any(axis=-1).mean() < 0.95
