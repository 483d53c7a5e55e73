"""Sources of images: a file per source, a function that returns a Dataset."""

from collections.abc import Callable

from tokenjax.data.dataset import Dataset
from tokenjax.data.sources import (
    cifar10,
    cluttered,
    digits,
    fashion_mnist,
    image_folder,
    reid_folders,
    shards,
    tfds,
)
from tokenjax.registry import Registry

Loader = Callable[..., Dataset]
SOURCES: Registry[Loader] = Registry("data source")

for _loader in (
    cifar10.cifar10,
    cluttered.cluttered,
    digits.digits,
    fashion_mnist.fashion_mnist,
    image_folder.image_folder,
    reid_folders.msvr310,
    reid_folders.rgbnt100,
    reid_folders.rgbnt201,
    reid_folders.synthetic_reid,
    shards.array_record,
    shards.tar_shards,
    tfds.cifar100,
    tfds.tfds,
):
    SOURCES.add(_loader.__name__, _loader)
