"""Re-identification samples on disk -> splits, decoded at once or when asked for.

Files of one set are resized to one (height, width), each split by its own method. All
damaged files are gathered before `DatasetError` is raised: in a set too large for
`cache_bytes` those with a bad header, others when they are met.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenjax.data.identity import Identity
from tokenjax.data.images.image_files import run_all
from tokenjax.data.images.image_opening import MAX_PIXELS
from tokenjax.data.images.image_sizes import (
    Box,
    Resampling,
    check_header,
    read_resized,
)
from tokenjax.data.reid_dataset import (
    Images,
    ImagesOnDemand,
    ReidSplit,
    StoredImages,
)
from tokenjax.data.sources.reid_layouts import MODALITIES, Sample

FOLDERS = 3  # of a file's path that all layouts have for themselves, its name included


@dataclass(frozen=True)
class Reading:
    """Settings by which the files of a set become arrays."""

    height: int
    width: int
    cache_bytes: int
    num_threads: int
    max_pixels: int = MAX_PIXELS
    outside_links: bool = False
    modalities: tuple[str, ...] = MODALITIES

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, 3


@dataclass(frozen=True, eq=False)
class Plan:
    """Split to be: its samples, what they are called, how they are resized."""

    samples: list[Sample]
    labels: np.ndarray  # (n,) int32
    method: Resampling
    boxes: tuple[Box, ...]  # where the modalities lie in one file; none: a file each
    roles: dict[str, np.ndarray]  # "query" and "gallery" (n,) bool, or none

    def columns(self) -> dict[str, np.ndarray]:
        """Return "camera", "scene" and "present", and the roles, by sample."""
        cameras = np.array([sample.camera for sample in self.samples], np.int32)
        scenes = np.array([sample.scene for sample in self.samples], np.int32)
        present = np.array(
            [[file is not None for file in sample.files] for sample in self.samples]
        )  # (n, modalities)
        return {"camera": cameras, "scene": scenes, "present": present} | self.roles

    def files(self, row: int) -> list[Path]:
        """List the files of a sample, each once."""
        return [path for path in dict.fromkeys(self.samples[row].files) if path]

    def identity(self) -> Identity:
        """Return the samples by their first file, as the set's own folders name it."""
        files = [self.files(row) for row in range(len(self.samples))]
        names = ["/".join(paths[0].parts[-FOLDERS:]) for paths in files]
        sizes = [sum(path.stat().st_size for path in paths) for paths in files]
        return Identity(names, np.array(sizes, np.int64))

    def read(self, row: int, path: Path, reading: Reading) -> dict[int, np.ndarray]:
        """Read the images of `row` that lie in `path`, by number of the modality."""
        height, width, _ = reading.shape
        limit = reading.max_pixels
        images = read_resized(path, height, width, self.method, self.boxes, limit)
        files = self.samples[row].files
        places = [number for number, file in enumerate(files) if file == path]
        return dict(zip(places, images, strict=True))


def make_splits(plans: dict[str, Plan], reading: Reading) -> dict[str, ReidSplit]:
    """Decode all if it fits in memory, else check headers and decode on demand."""
    samples = sum(len(plan.samples) for plan in plans.values())
    size = samples * len(reading.modalities) * int(np.prod(reading.shape))
    make_images = _decode if size <= reading.cache_bytes else _check
    images = make_images(plans, reading)
    return {
        name: ReidSplit(
            images[name], plan.labels, reading.shape, plan.columns(), plan.identity()
        )
        for name, plan in plans.items()
    }


def _jobs(plans: dict[str, Plan]) -> list[tuple[str, int, Path]]:
    """List (split, row, file) of every file; one of several images is one job."""
    return [
        (name, row, path)
        for name, plan in plans.items()
        for row in range(len(plan.samples))
        for path in plan.files(row)
    ]


def _decode(plans: dict[str, Plan], reading: Reading) -> dict[str, Images]:
    jobs = _jobs(plans)
    arrays = {
        name: [
            np.zeros((len(plan.samples), *reading.shape), np.uint8)
            for _ in reading.modalities
        ]
        for name, plan in plans.items()
    }

    def decode(index: int) -> None:
        name, row, path = jobs[index]
        for number, image in plans[name].read(row, path, reading).items():
            arrays[name][number][row] = image

    run_all(decode, len(jobs), reading.num_threads, "decoding")
    return {
        name: StoredImages(dict(zip(reading.modalities, each, strict=True)))
        for name, each in arrays.items()
    }


def _check(plans: dict[str, Plan], reading: Reading) -> dict[str, Images]:
    jobs = _jobs(plans)
    threads = reading.num_threads
    limit = reading.max_pixels
    run_all(lambda i: check_header(jobs[i][2], limit), len(jobs), threads, "checking")

    def reader(plan: Plan) -> Callable[[int], np.ndarray]:
        def read(row: int) -> np.ndarray:
            sample = np.zeros((len(reading.modalities), *reading.shape), np.uint8)
            for path in plan.files(row):
                for number, image in plan.read(row, path, reading).items():
                    sample[number] = image
            return sample

        return read

    return {
        name: ImagesOnDemand(reader(plan), reading.modalities, reading.shape, threads)
        for name, plan in plans.items()
    }
