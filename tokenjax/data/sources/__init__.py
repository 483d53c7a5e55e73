"""Where images come from: a file per source, a function that returns a Dataset."""

from collections.abc import Callable

from tokenjax.data.dataset import Dataset
from tokenjax.data.sources.cluttered import cluttered
from tokenjax.data.sources.digits import digits
from tokenjax.data.sources.fashion_mnist import fashion_mnist
from tokenjax.data.sources.image_folder import image_folder
from tokenjax.data.sources.tfds import cifar10, cifar100, tfds

SOURCES: dict[str, Callable[..., Dataset]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "cluttered": cluttered,
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "image_folder": image_folder,
    "tfds": tfds,
}
