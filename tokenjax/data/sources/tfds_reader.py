"""Reading one split of a prepared TFDS set: whole into memory, or image by image."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenjax.data.dataset import ArraySplit, LazySplit
from tokenjax.data.identity import Identity
from tokenjax.data.images.image_sizes import fit_array
from tokenjax.data.preprocessing import Reading
from tokenjax.errors import DatasetError, first_line, unknown_name

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder


class Reader:
    """One split of a prepared set: its examples in a fixed order, and their images."""

    def __init__(
        self,
        builder: "DatasetBuilder",
        split: str,
        image_size: int,
        image_key: str,
        label_key: str,
        reading: Reading,
    ) -> None:
        self.builder, self.split, self.size = builder, split, image_size
        self.image_key, self.label_key, self.reading = image_key, label_key, reading
        available = builder.info.splits
        for part in split.split("+"):  # TFDS's own syntax: "train[:90%]+extra"
            if part.split("[")[0].strip() not in available:
                kind = f"split of {builder.name}"
                raise DatasetError(unknown_name(kind, part, available))
        try:
            self.count = available[split].num_examples
        except (KeyError, ValueError, AssertionError) as error:
            raise DatasetError(
                f"tfds: {split!r} is no part of {builder.name}: {error}"
            ) from error
        channels = builder.info.features[self.image_key].shape[-1]
        self.channels = 1 if channels == 1 else 3
        self.random_access = "array_record" in {
            file_format.value for file_format in builder.info.available_file_formats()
        }

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.size, self.size, self.channels

    @property
    def bytes(self) -> int:
        """Bytes that the images take in memory."""
        return self.count * self.size * self.size * self.channels

    def random_reader(self, *keys: str) -> Callable[[int], dict[str, Any]]:
        """Return a function that reads the features `keys` of an example by index.

        Decoded here: `as_data_source` decodes all or nothing, and TFDS's
        `PartialDecoding` imports TensorFlow.
        """
        import tensorflow_datasets

        every = self.builder.info.features
        features = tensorflow_datasets.features.FeaturesDict(
            {key: every[key] for key in keys}
        )
        records = self.builder.as_data_source(
            split=self.split,
            deserialize_method=tensorflow_datasets.decode.DeserializeMethod.RAW_BYTES,
        )

        def read(index: int) -> dict[str, Any]:
            try:
                return features.deserialize_example_np(records[index])
            except Exception as error:  # whatever the damage led to
                raise self._broken(index, error) from error

        return read

    def examples(self) -> Iterator[Any]:
        """Yield all examples in order, read by TensorFlow unless array_record."""
        iterator = iter(self._examples())
        for index in itertools.count():
            try:
                example = next(iterator)
            except StopIteration:
                return
            except DatasetError:
                raise
            except Exception as error:  # TensorFlow finds a wrong checksum, or no image
                raise self._broken(index, error) from error
            yield example

    def _broken(self, index: int, error: Exception) -> DatasetError:
        return DatasetError(
            f"tfds: example {index} of split {self.split!r} of {self.builder.name} in "
            f"{self.builder.data_dir} cannot be read: {first_line(error)}"
        )

    def _examples(self) -> Iterable[Any]:
        keys = (self.image_key, self.label_key)
        if self.random_access:
            return map(self.random_reader(*keys), range(self.count))
        import tensorflow
        import tensorflow_datasets

        tensorflow.config.set_visible_devices([], "GPU")  # the GPU is JAX's
        wanted = tensorflow_datasets.decode.PartialDecoding(dict.fromkeys(keys, True))
        dataset = self.builder.as_dataset(
            split=self.split, shuffle_files=False, decoders=wanted
        )
        return tensorflow_datasets.as_numpy(dataset)

    def checked(self, labels: np.ndarray) -> np.ndarray:
        """Return `labels` (n,); refuse a split that was published without labels."""
        if labels.size and labels.min() < 0:
            raise DatasetError(
                f"tfds: split {self.split!r} of {self.builder.name} has no labels"
            )
        return labels

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Fit one image to the split's size and channels."""
        return fit_array(image, self.size, self.channels, self.reading)

    def in_memory(self) -> ArraySplit:
        """Read the whole split into memory."""
        from tqdm import tqdm

        images = np.empty((self.count, *self.image_shape), np.uint8)
        labels = np.empty(self.count, np.int32)
        bar = tqdm(
            self.examples(), "reading", self.count, unit="image", delay=1, leave=False
        )
        for row, example in enumerate(bar):
            images[row] = self.fit(example[self.image_key])
            labels[row] = example[self.label_key]
        return ArraySplit(images, self.checked(labels), identity=self.identity())

    def on_demand(self) -> LazySplit:
        """Read the labels now, and each image when it is asked for."""
        from tqdm import tqdm

        read_label = self.random_reader(self.label_key)
        bar = tqdm(
            range(self.count), "reading labels", unit="image", delay=1, leave=False
        )
        rows = (read_label(index)[self.label_key] for index in bar)
        labels = self.checked(np.fromiter(rows, np.int32, self.count))
        read_image = self.random_reader(self.image_key)
        return LazySplit(
            lambda index: self.fit(read_image(index)[self.image_key]),
            labels,
            self.image_shape,
            identity=self.identity(),
        )

    def identity(self) -> Identity:
        """Return what TFDS calls the examples: the set, its version, their number."""
        prefix = f"{self.builder.info.full_name} {self.split}"
        return Identity([f"{prefix}[{index}]" for index in range(self.count)])
