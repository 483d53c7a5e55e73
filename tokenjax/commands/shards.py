"""Write a folder of images as shards, or index shards that are there.

    tokenjax shards write --input PHOTOS --output SHARDS
    tokenjax shards write --input PHOTOS --output SHARDS --kind array_record
    tokenjax shards write --input PHOTOS --output SHARDS --shorter_side 256
    tokenjax shards index --input SHARDS
    tokenjax shards index --input SHARDS --train train-{0000..0146}.tar

Parts and classes of the folder are found as the data source image_folder does. A run
indexes shards by itself where no one has; of many processes one should do it before.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from tokenjax import command_line, path_flags
from tokenjax.errors import UserError, unknown_name

COMPUTES = False  # nothing that huge pages would speed up
ARGUMENTS = "write or index"
WORDS = ("write", "index")
OF_WRITING = ("output", "shard_megabytes", "shorter_side")
OF_INDEXING = ("train", "validation", "test", "label_key", "index")
KINDS = ("tar", "array_record")


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is read and written."""
    options: Any = {"flag_values": values}
    path_flags.define(
        "input", None, "write: folder of images; index: of shards", values
    )
    path_flags.define("output", None, "write: new folder for the shards", values)
    flags.DEFINE_enum("kind", "tar", KINDS, "of the files", **options)
    flags.DEFINE_integer(
        "shard_megabytes", 256, "write: after which the next is begun", 1, **options
    )
    flags.DEFINE_integer(
        "shorter_side",
        0,
        "write: larger images are resized first; 0: not",
        0,
        **options,
    )
    for part in ("train", "validation", "test"):
        meaning = f"index: as data.{part} is given to the run"
        flags.DEFINE_string(part, "", meaning, **options)
    flags.DEFINE_string("label_key", "label", "index: as data.label_key", **options)
    flags.DEFINE_string("index", "", "index: as data.index", **options)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Write shards, or their index.

    Raises: DatasetError for what cannot be read; UserError for flags of the other word.
    """
    words = list(argv[1:])
    if len(words) != 1:
        raise UserError(f"`shards` takes {ARGUMENTS}; got {' '.join(words)!r}")
    if words[0] not in WORDS:
        raise UserError(unknown_name("word after `shards`", words[0], WORDS))
    if not values.input:
        raise UserError("--input must be given")
    writes = words[0] == "write"
    for name in OF_INDEXING if writes else OF_WRITING:
        if values[name].present:
            raise UserError(f"--{name} is of `shards {WORDS[writes]}`")
    if writes:
        _write(values)
    else:
        _index(values)


def _write(values: flags.FlagValues) -> None:
    from tokenjax import data
    from tokenjax.data.shards.conversion import write_shards

    if not values.output:
        raise UserError("--output must be given")
    # Nothing is decoded: the statistics are none of ours to measure.
    given = {"source": "image_folder", "cache_bytes": 0, "mean": (0.5,), "std": (0.5,)}
    dataset = data.load({**given, "directory": str(values.input)})
    paths = write_shards(
        dataset,
        pathlib.Path(values.output),
        values.kind,
        values.shard_megabytes * 2**20,
        values.shorter_side,
    )
    counts = ", ".join(
        f"{len(dataset.split(part)):,} {part}"
        for part in ("train", "validation", "test")
    )
    print(f"{values.output}: {len(paths)} shards, {counts} images")


def _index(values: flags.FlagValues) -> None:
    from tokenjax.data.sources.shards import find_index

    parts = {part: str(values[part].value) for part in ("train", "validation", "test")}
    key = values.label_key if values.kind == "tar" else ""
    index = find_index(values.kind, str(values.input), parts, key, values.index)
    print(
        f"{index.folder}: {len(index):,} examples of {len(index.class_names):,} "
        f"classes in {len(index.shards):,} shards"
    )


if __name__ == "__main__":
    command_line.run("shards")
