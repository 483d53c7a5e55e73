"""Measure what checkpoints, and waiting for data, cost training.

    tokenjax training_overhead
    tokenjax training_overhead --source digits --json overhead.json

Runs every source that needs no files in its default configurations. Exit status 1 if
a limit is exceeded. `python -m tokenjax.benchmark.training_overhead` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is run, and for how long."""
    from tokenjax.benchmark import training_overhead

    training_overhead.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run, and print what the runs tell.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import training_overhead

    training_overhead.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("training_overhead")
