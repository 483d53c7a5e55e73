"""Make data ready: CIFAR-10, or made-up persons in RGB, NIR, TIR.

    tokenjax data prepare cifar10                 # download it, check it
    tokenjax data prepare cifar10 --imbalanced    # and list the thinned set's images
    tokenjax data --output DIR --identities 80 --seed 0
    tokenjax data --output DIR --height 256 --width 128 --cameras 6
    tokenjax train --config configs/sdtps.py:rgbnt201 --config.data.directory=DIR

Persons: the folders are those of RGBNT201; the same flags write the same pictures.
`python -m tokenjax.data.people.synthetic_reid` does the same.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from tokenjax import command_line, path_flags
from tokenjax.errors import UserError, unknown_name

ARGUMENTS = "nothing (persons are made up), or: prepare cifar10"
OF_PERSONS = (
    "identities",
    "seed",
    "height",
    "width",
    "images_per_camera",
    "cameras",
    "train_fraction",
)
OF_PREPARING = ("imbalanced", "archive")
PREPARED = ("cifar10",)


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define where the set goes, and how large it is."""
    options: Any = {"flag_values": values}
    meaning = "directory to write; of what is prepared, the user's cache by itself"
    path_flags.define("output", None, meaning, values)
    flags.DEFINE_bool(
        "imbalanced", False, "prepare: list the images of CIFAR-ViT's set", **options
    )
    archive = "prepare: a copy of the official archive, instead of a download"
    path_flags.define("archive", None, archive, values)
    flags.DEFINE_integer("identities", 80, "persons", **options)
    flags.DEFINE_integer("seed", 0, "of what the persons look like", **options)
    flags.DEFINE_integer("height", 128, "pixels", **options)
    flags.DEFINE_integer("width", 64, "pixels", **options)
    flags.DEFINE_integer("images_per_camera", 3, "of each person", **options)
    flags.DEFINE_integer("cameras", 4, "that see each person", **options)
    flags.DEFINE_float("train_fraction", 0.5, "of the persons", **options)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Write the set.

    Raises: DatasetError for a size that cannot be, a folder that is in use, and a set
      that cannot be had; UserError for flags of the other one.
    """
    words = list(argv[1:])
    others = OF_PERSONS if words else OF_PREPARING
    given = [name for name in others if values[name].present]
    if given:
        whose = "`data` without `prepare`" if words else "`data prepare`"
        raise UserError(f"--{given[0]} is of {whose}")
    if not words:
        _make_persons(values)
    elif words[0] != "prepare" or len(words) != 2:
        raise UserError(
            f"`data` takes {ARGUMENTS}; got {' '.join(words)!r}: every option is a flag"
        )
    elif words[1] not in PREPARED:
        raise UserError(unknown_name("set to prepare", words[1], PREPARED))
    else:
        _prepare_cifar10(values)


def _make_persons(values: flags.FlagValues) -> None:
    from tokenjax.data.people import synthetic_reid

    if not values.output:
        raise UserError("--output must be given")
    sizes: dict[str, Any] = {name: values[name].value for name in OF_PERSONS}
    synthetic_reid.generate(pathlib.Path(values.output), **sizes)
    print(f"{values.output}: {values.identities} identities, {values.cameras} cameras")


def _prepare_cifar10(values: flags.FlagValues) -> None:
    from tokenjax.convert.plain_pickles import read_plain_dictionary
    from tokenjax.data.preparation import cifar10_archive
    from tokenjax.data.sources import cifar10

    usual = cifar10.find_folder()
    folder = pathlib.Path(values.output) if values.output else usual
    if folder is None:
        raise UserError("there is no home directory to keep data in: give --output")
    archive = pathlib.Path(values.archive) if values.archive else None
    path = cifar10_archive.prepare(folder, archive, read_plain_dictionary)
    found = cifar10.read_prepared(path)
    named = "" if folder == usual else f" --config.data.directory={folder}"
    print(
        f"{path}: {len(found['train_labels']):,} training and "
        f"{len(found['test_labels']):,} test images; "
        f"tokenjax train --config vit:cifar10{named}"
    )
    if values.imbalanced:
        path, indices = cifar10_archive.write_imbalanced(folder)
        print(
            f"{path}: {len(indices):,} of them; "
            f"tokenjax train --config imbalanced:cifar10{named}"
        )


if __name__ == "__main__":
    command_line.run("data")
