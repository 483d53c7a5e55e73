"""Multi-modal re-identification sets: RGBNT201, RGBNT100, MSVR310 and a synthetic one.

Every image is resized to (height, width): bicubic in the training split, bilinear in
evaluation splits, as the original programs do. How the sets lie on disk stands in
`reid_layouts`, what a batch holds in `tokenjax.data.reid_dataset`.

Of the arguments, `validation_identities` are held out of training (by `split_seed`),
and all of their samples are both query and gallery of the validation split; with 0 of
them validation IS the test split, on which the originals select their best epoch. With
missing="zeros" a sample stays if some modality is not on disk, its pixels 0 and
`present` False.

Test splits hold the query samples and then the gallery's; in RGBNT201 every sample is
both. Junk and distractors, identities -1 and 0, are what `reid_nobody` says, counted in
the remarks. An identity of one training image stays: the sampler repeats it. Whatever
is missing, misnamed or damaged is gathered into one `DatasetError`.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated

import numpy as np

from tokenjax.arguments import at_least
from tokenjax.data import preprocessing
from tokenjax.data.dataset import Dataset
from tokenjax.data.images.image_opening import MAX_PIXELS
from tokenjax.data.partition import generator
from tokenjax.data.reid_dataset import DISTRACTOR, ReidInfo
from tokenjax.data.sources.reid_layouts import (
    MODALITIES,
    MSVR310,
    RGBNT100,
    RGBNT201,
    Layout,
    Part,
    Sample,
    read_samples,
)
from tokenjax.data.sources.reid_nobody import remarks_on_nobody, without_nobody
from tokenjax.data.sources.reid_reading import Plan, Reading, make_splits
from tokenjax.data.sources.source_arguments import (
    CacheBytes,
    Directory,
    Height,
    HeldOut,
    MaxPixels,
    Missing,
    Modalities,
    NumThreads,
    OutsideLinks,
    SplitSeed,
    Width,
)
from tokenjax.errors import DatasetError

EVALUATED = preprocessing.Reading(interpolation="bilinear", stretch=True)
HALF = (0.5, 0.5, 0.5)  # mean and std of every set, for CLIP's weights too


def rgbnt201(
    directory: Directory,
    height: Height = 256,
    width: Width = 128,
    validation_identities: HeldOut = 0,
    split_seed: SplitSeed = 0,
    missing: Missing = "error",
    cache_bytes: CacheBytes = 2**31,
    num_threads: NumThreads = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    outside_links: OutsideLinks = False,
    modalities: Modalities = MODALITIES,
) -> Dataset:
    """Load RGBNT201: people in visible, near and thermal infrared, four cameras."""
    reading = Reading(
        height,
        width,
        cache_bytes,
        num_threads,
        max_pixels,
        outside_links,
        modalities,
    )
    return _load(
        RGBNT201, directory, reading, validation_identities, split_seed, missing
    )


def rgbnt100(
    directory: Directory,
    height: Height = 128,
    width: Width = 256,
    validation_identities: HeldOut = 0,
    split_seed: SplitSeed = 0,
    missing: Missing = "error",
    cache_bytes: CacheBytes = 2**31,
    num_threads: NumThreads = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    outside_links: OutsideLinks = False,
    modalities: Modalities = MODALITIES,
) -> Dataset:
    """Load RGBNT100: vehicles, eight cameras, one file for all images of a sample.

    So `missing` is moot; it is taken all the same: one configuration serves every set.
    """
    reading = Reading(
        height,
        width,
        cache_bytes,
        num_threads,
        max_pixels,
        outside_links,
        modalities,
    )
    return _load(
        RGBNT100, directory, reading, validation_identities, split_seed, missing
    )


def msvr310(
    directory: Directory,
    height: Height = 128,
    width: Width = 256,
    validation_identities: HeldOut = 0,
    split_seed: SplitSeed = 0,
    missing: Missing = "error",
    cache_bytes: CacheBytes = 2**31,
    num_threads: NumThreads = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    outside_links: OutsideLinks = False,
    modalities: Modalities = MODALITIES,
) -> Dataset:
    """Load MSVR310: vehicles, eight views; matches of one scene are left out."""
    reading = Reading(
        height,
        width,
        cache_bytes,
        num_threads,
        max_pixels,
        outside_links,
        modalities,
    )
    return _load(
        MSVR310, directory, reading, validation_identities, split_seed, missing
    )


def synthetic_reid(
    directory: Directory = "runs/data/synthetic_reid",
    identities: Annotated[int, at_least(2), "persons, half to train on"] = 80,
    seed: Annotated[int, at_least(0), "of the persons"] = 0,
    height: Height = 128,
    width: Width = 64,
    validation_identities: HeldOut = 0,
    split_seed: SplitSeed = 0,
    missing: Missing = "error",
    cache_bytes: CacheBytes = 2**31,
    num_threads: NumThreads = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    outside_links: OutsideLinks = False,
    modalities: Modalities = MODALITIES,
) -> Dataset:
    """Load drawn people in RGBNT201's layout, made in `directory` if not there yet."""
    from tokenjax.data.people.synthetic_reid import generate

    layout = dataclasses.replace(RGBNT201, name="synthetic_reid", above=())
    reading = Reading(
        height,
        width,
        cache_bytes,
        num_threads,
        max_pixels,
        outside_links,
        modalities,
    )
    if directory:  # an empty one is refused where all are
        generate(Path(directory).expanduser(), identities, seed)
    return _load(layout, directory, reading, validation_identities, split_seed, missing)


def _load(
    layout: Layout,
    directory: str,
    reading: Reading,
    validation_identities: int,
    split_seed: int,
    missing: str,
) -> Dataset:
    layout = layout.limited_to(reading.modalities)
    found = read_samples(layout, directory, missing, reading.outside_links)
    training, *evaluation = without_nobody(layout, found)
    held_out = _held_out(layout.name, training, validation_identities, split_seed)
    kept = [sample for sample in training if sample.identity not in held_out]
    identities, classes = np.unique(_identities(kept), return_inverse=True)
    plans = {
        "train": Plan(kept, classes.astype(np.int32), "bicubic", layout.boxes, {}),
        "test": _retrieval_plan(layout, evaluation, layout.parts[1:]),
    }
    if held_out:
        samples = [sample for sample in training if sample.identity in held_out]
        both = Part("", query=True, gallery=True)
        plans["validation"] = _retrieval_plan(layout, [samples], (both,))
    splits = make_splits(plans, reading)
    train, test = splits["train"], splits["test"]
    validation = splits.setdefault("validation", test)
    info = ReidInfo(
        name=layout.name,
        num_classes=len(identities),
        class_names=tuple(str(identity) for identity in identities),
        image_shape=reading.shape,
        counts={
            name: np.unique(split.labels, return_counts=True)[1]
            for name, split in splits.items()
        },
        mean=HALF,
        std=HALF,
        modalities=reading.modalities,
        num_cameras=_num_cameras(layout, found),
        same=layout.same,
        reading=EVALUATED,
        remarks=remarks_on_nobody(layout, found),
    )
    return Dataset(train, validation, test, info)


def _identities(samples: list[Sample]) -> np.ndarray:
    return np.array([sample.identity for sample in samples], np.int32)


def _retrieval_plan(
    layout: Layout, samples: list[list[Sample]], parts: tuple[Part, ...]
) -> Plan:
    """Plan a split of some parts' samples, one part after another, with roles."""
    together = list(itertools.chain(*samples))
    sizes, identities = [len(each) for each in samples], _identities(together)
    somebody = identities != DISTRACTOR
    roles = {
        "query": np.repeat([part.query for part in parts], sizes) & somebody,
        "gallery": np.repeat([part.gallery for part in parts], sizes),
    }
    return Plan(together, identities, "bilinear", layout.boxes, roles)


def _num_cameras(layout: Layout, samples: list[list[Sample]]) -> int:
    """Return the set's own number, or more where a file is of a later camera."""
    last = max(sample.camera for part in samples for sample in part)
    return max(layout.num_cameras, last + 1)


def _held_out(
    name: str, training: list[Sample], count: int, seed: int
) -> frozenset[int]:
    """Draw the `count` training identities that make the validation split."""
    identities = np.unique(_identities(training))
    if not 0 <= count < len(identities):
        raise DatasetError(
            f"{name}: validation_identities is 0 or more and fewer than the "
            f"{len(identities)} training identities, got {count}"
        )
    return frozenset(generator(seed).permutation(identities)[:count].tolist())
