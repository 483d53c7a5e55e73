"""Sources of images: a file per source, a function that returns a Dataset."""

from collections.abc import Callable

from tokenjax.data.dataset import Dataset
from tokenjax.data.sources import (
    cluttered,
    digits,
    fashion_mnist,
    image_folder,
    reid_folders,
    tfds,
)

SOURCES: dict[str, Callable[..., Dataset]] = {
    "cifar10": tfds.cifar10,
    "cifar100": tfds.cifar100,
    "cluttered": cluttered.cluttered,
    "digits": digits.digits,
    "fashion_mnist": fashion_mnist.fashion_mnist,
    "image_folder": image_folder.image_folder,
    "msvr310": reid_folders.msvr310,
    "rgbnt100": reid_folders.rgbnt100,
    "rgbnt201": reid_folders.rgbnt201,
    "synthetic_reid": reid_folders.synthetic_reid,
    "tfds": tfds.tfds,
}
