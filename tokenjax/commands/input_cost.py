"""Measure how many images a second a data source hands to a device.

    tokenjax input_cost
    tokenjax input_cost --sources tar_shards --threads 1,16 --processes 8,16
    tokenjax input_cost --config vit:image_folder --config.data.directory=PHOTOS

Two tables: what reading, decoding, resizing, stacking and the transfer take of an
image on one core, and the rates of several threads and of several processes. Without a
configuration photos are made, as a folder and as shards of both kinds.
`python -m tokenjax.benchmark.input_cost` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is measured, and how."""
    from tokenjax.benchmark import input_cost

    command_line.define_config(argv, values, required=False)
    input_cost.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Measure, and print the tables.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import input_cost

    input_cost.main(list(argv[:1]), values)


if __name__ == "__main__":
    command_line.run("input_cost")
