"""CIFAR's photographs at other resolutions: enlarged, and the model follows."""

import sys

import jax
import numpy as np
import pytest

from configs import routing
from tokenjax import building
from tokenjax.data.dataset import ArraySplit, make_dataset
from tokenjax.data.images.image_sizes import fit_array
from tokenjax.data.sources import SOURCES
from tokenjax.errors import UserError


@pytest.fixture
def photographs(monkeypatch, tmp_path):
    """Twelve of 32 pixels, in the place of what TFDS would have prepared."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where nothing is prepared
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    labels = np.arange(12, dtype=np.int32) % 10

    def load(name, image_size, *arguments, **more):
        fitted = np.stack([fit_array(image, image_size, 3) for image in images])
        classes = [str(n) for n in range(100 if name == "cifar100" else 10)]
        return make_dataset(name, classes, *[ArraySplit(fitted, labels)] * 3)

    for source in ("cifar10", "cifar100"):
        module = sys.modules[SOURCES[source].__module__]
        monkeypatch.setattr(module, "tfds", load)
    return images


@pytest.mark.parametrize(
    ("variant", "side"),
    [
        ("cifar10", 64),
        ("cifar100", 64),
        ("cifar10-full_compute", 48),
        ("cifar100-cheap_compute", 96),
        ("cifar10-no_routing", 224),
    ],
)
def test_the_model_follows_the_images(photographs, variant, side):
    config = routing.get_config(variant)
    config.data.image_size = side
    built = building.build(config)
    images = built.dataset.test.gather(np.arange(2))["image"]
    assert images.shape == (2, side, side, 3)
    assert images[0].mean() == pytest.approx(photographs[0].mean(), abs=2)
    model = built.task.model
    assert model.img_size == side
    patch = 3 * (side // model.patch_grid) ** 2
    variables = jax.eval_shape(built.task.init, jax.random.key(0))
    for name in model.networks():
        kernel = variables["params"][name]["layers_0"]["kernel"]
        assert kernel.shape[0] == patch
    logits, aux = jax.eval_shape(model.apply, variables, built.task.prepare(images))
    assert logits.shape == (2, 100 if "cifar100" in variant else 10)
    assert aux["mask"].shape == (2, model.patch_grid**2)


def test_a_grid_that_does_not_divide_is_a_sentence(photographs):
    config = routing.get_config("cifar10")
    config.data.image_size = 30
    with pytest.raises(UserError, match=r"4 does not divide img_size 30 \(32 pixels"):
        building.build(config)
