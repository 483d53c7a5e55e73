"""Sets larger than memory: shards of many images each, in tar or ArrayRecord files.

They are indexed once; a start maps the index, and a batch reads its images where they
lie. Tar files are WebDataset's (`tokenjax.data.shards.tar_files`), ArrayRecord files
are ours (`tokenjax.data.shards.record_files`); `tokenjax shards write` writes both.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np

from tokenjax.arguments import FREE
from tokenjax.data.dataset import Dataset, Split, Subset, make_dataset
from tokenjax.data.holding_out import Rest, draw_held_out
from tokenjax.data.images.image_files import abridged
from tokenjax.data.images.image_opening import MAX_PIXELS
from tokenjax.data.preprocessing import (
    Crop,
    Mean,
    Reading,
    Resize,
    Std,
    given_statistics,
)
from tokenjax.data.shards import (
    index_places,
    indexing,
    patterns,
    record_files,
    shard_index,
    tar_files,
)
from tokenjax.data.shards.shard_index import Part, ShardIndex, Sizes
from tokenjax.data.shards.shard_split import ShardSplit
from tokenjax.data.sources.folder_reading import say
from tokenjax.data.sources.source_arguments import (
    Directory,
    MaxPixels,
    NumThreads,
    Side,
    SplitSeed,
    TestFraction,
    ValidationFraction,
)
from tokenjax.errors import DatasetError, shown

PARTS = {"train": ("train",), "validation": ("val", "dev"), "test": ("test",)}
ENDINGS = {"tar": tar_files.ENDINGS, "array_record": record_files.ENDINGS}
HELD_OUT = 0.01  # of a large set
STATISTICS_EXAMPLES = 1000  # decoded at every start, so few of them

Train = Annotated[
    str,
    FREE,
    "shards to train on: train-{0000..0146}.tar; empty: named train..., or all others",
]
Other = Annotated[str, FREE, "likewise; empty: those named so, else held out of train"]
Index = Annotated[
    str, FREE, "folder for the index; empty: beside the shards, or the user's cache"
]


def tar_shards(
    directory: Directory,
    image_size: Side = 224,
    train: Train = "",
    validation: Other = "",
    test: Other = "",
    label_key: Annotated[str, FREE, "where the label is in an example's .json"] = (
        "label"
    ),
    validation_fraction: ValidationFraction = HELD_OUT,
    test_fraction: TestFraction = HELD_OUT,
    split_seed: SplitSeed = 0,
    index: Index = "",
    num_threads: NumThreads = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    crop: Crop = None,
    interpolation: Resize = None,
    mean: Mean = None,
    std: Std = None,
) -> Dataset:
    """Load tar files in WebDataset's layout: KEY.jpg beside KEY.cls, .json or .txt.

    Images are resized as image_folder does. The first start lists the shards, and says
    so; later ones look at their sizes. Raises `DatasetError` for patterns that name
    nothing, and for shards that are damaged or without labels.
    """
    names = {"train": train, "validation": validation, "test": test}
    found = find_index("tar", directory, names, label_key, index)
    shape = Reading(crop or 1.0, interpolation or "bicubic")
    read = (image_size, shape, max_pixels, num_threads)
    fractions = (validation_fraction, test_fraction)
    statistics = given_statistics(mean, std, 3)
    return _make(found, read, fractions, split_seed, statistics)


def array_record(
    directory: Directory,
    image_size: Side = 224,
    train: Train = "",
    validation: Other = "",
    test: Other = "",
    validation_fraction: ValidationFraction = HELD_OUT,
    test_fraction: TestFraction = HELD_OUT,
    split_seed: SplitSeed = 0,
    index: Index = "",
    num_threads: NumThreads = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    crop: Crop = None,
    interpolation: Resize = None,
    mean: Mean = None,
    std: Std = None,
) -> Dataset:
    """Load ArrayRecord files that `tokenjax shards write` wrote, as `tar_shards` does.

    Of TFDS's own ones `data.source=tfds` knows the features.
    """
    names = {"train": train, "validation": validation, "test": test}
    found = find_index("array_record", directory, names, "", index)
    shape = Reading(crop or 1.0, interpolation or "bicubic")
    read = (image_size, shape, max_pixels, num_threads)
    fractions = (validation_fraction, test_fraction)
    statistics = given_statistics(mean, std, 3)
    return _make(found, read, fractions, split_seed, statistics)


def find_index(
    kind: str, directory: str, names: dict[str, str], label_key: str, index: str
) -> ShardIndex:
    """Return the index of shards in `directory`; make it where there is none.

    `names` are the parts' patterns, the other arguments those of `tar_shards`.

    Raises: DatasetError, see there.
    """
    root = Path(directory).expanduser()
    if not directory or not root.is_dir():
        raise DatasetError(
            f"{shown(directory)} is not a directory of shards: "
            "--config.data.directory=PATH"
        )
    parts = {
        part: indexing.measure(root, shards)
        for part, shards in find_parts(root, names, ENDINGS[kind]).items()
    }
    folder = index_places.choose_folder(index, root)
    every: Sizes = {
        name: size for sizes in parts.values() for name, size in sizes.items()
    }
    place = folder / shard_index.digest_sizes(kind, parts, label_key)[:32]
    if not place.exists():
        changed = shard_index.changed_shards(folder, every)
        if changed:
            say(
                f"{shown(directory)}: the shards changed since they were indexed "
                f"({abridged(changed)}) and are indexed again"
            )
        say(f"indexing {len(every)} shards of {shown(directory)}, this once")
    return indexing.find_or_make(folder, root, kind, parts, label_key, say)


def find_parts(
    root: Path, names: dict[str, str], endings: tuple[str, ...]
) -> dict[str, list[str]]:
    """Return the shards of each part that has any, by pattern or by name.

    Raises: DatasetError for a pattern that names none, a shard of two parts, and where
      none is to train on.
    """
    there = patterns.list_shards(root, endings)
    given = {part: patterns.find_shards(root, p) for part, p in names.items() if p}
    taken = {name for shards in given.values() for name in shards}
    parts: dict[str, list[str]] = {}
    for part, words in PARTS.items():
        by_name = [
            name
            for name in there
            if name.lower().startswith(words) and name not in taken
        ]
        parts[part] = given.get(part, by_name)
    if not parts["train"] and "train" not in given:
        others = {name for shards in parts.values() for name in shards}
        parts["train"] = [name for name in there if name not in others]
    every = [name for shards in parts.values() for name in shards]
    twice = [shown(name) for name, count in Counter(every).items() if count > 1]
    if twice:
        raise DatasetError(f"shards are of two parts at once: {abridged(twice)}")
    if not every:
        raise DatasetError(
            f"{shown(root)} holds no shard ({', '.join('*' + e for e in endings)})"
        )
    return {part: shards for part, shards in parts.items() if shards}


def _make(
    index: ShardIndex,
    read: tuple[int, Reading, int, int],
    fractions: tuple[float, float],
    seed: int,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None,
) -> Dataset:
    """Return the data set, what lacks a part being held out of training."""
    size, shape, max_pixels, num_threads = read
    none = Part(0, 0, "", (0,) * len(index.class_names))

    def split(part: str) -> Split:
        found = index.parts.get(part, none)
        return ShardSplit(index, found, (size, size, 3), shape, max_pixels, num_threads)

    splits = {part: split(part) for part in PARTS}
    train = splits["train"]
    lacking = [part for part in ("validation", "test") if part not in index.parts]
    if len(train) and lacking:
        shares = dict(zip(("validation", "test"), fractions, strict=True))
        counts = [round(shares[part] * len(train)) for part in lacking]
        if sum(counts) >= len(train):
            raise DatasetError(
                "data.validation_fraction and data.test_fraction leave none of "
                f"{len(train)} examples for training"
            )
        parts = draw_held_out(len(train), counts, seed)
        for part, held in zip(lacking, parts, strict=True):
            splits[part] = Subset(train, held)
        held = np.sort(np.concatenate(parts))
        splits["train"] = Rest(train, held, len(index.class_names))
    return make_dataset(
        shown(index.directory.resolve().name),
        index.class_names,
        splits["train"],
        splits["validation"],
        splits["test"],
        statistics=statistics,
        statistics_examples=STATISTICS_EXAMPLES,
        reading=shape,
    )
