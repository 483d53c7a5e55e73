"""Write a made-up person re-identification set in RGB, NIR and TIR.

    tokenjax data --output DIR --identities 80 --seed 0
    tokenjax data --output DIR --height 256 --width 128 --cameras 6
    tokenjax train --config configs/sdtps.py:rgbnt201 --config.data.directory=DIR

The folders are those of RGBNT201; the same flags write the same pictures.
`python -m tokenjax.data.synthetic_reid` does the same.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from tokenjax import command_line, path_flags


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define where the set goes, and how large it is."""
    options: Any = {"flag_values": values}
    path_flags.define("output", None, "directory to write", values, required=True)
    flags.DEFINE_integer("identities", 80, "persons", **options)
    flags.DEFINE_integer("seed", 0, "of what the persons look like", **options)
    flags.DEFINE_integer("height", 128, "pixels", **options)
    flags.DEFINE_integer("width", 64, "pixels", **options)
    flags.DEFINE_integer("images_per_camera", 3, "of each person", **options)
    flags.DEFINE_integer("cameras", 4, "that see each person", **options)
    flags.DEFINE_float("train_fraction", 0.5, "of the persons", **options)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Write the set.

    Raises: DatasetError for a size that cannot be, and for a folder that is in use.
    """
    from tokenjax.data.people import synthetic_reid

    synthetic_reid.generate(
        pathlib.Path(values.output),
        identities=values.identities,
        seed=values.seed,
        height=values.height,
        width=values.width,
        images_per_camera=values.images_per_camera,
        cameras=values.cameras,
        train_fraction=values.train_fraction,
    )
    print(f"{values.output}: {values.identities} identities, {values.cameras} cameras")


if __name__ == "__main__":
    command_line.run("data")
