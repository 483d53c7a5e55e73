"""Damage input at random, and see that none of it gets by.

    tokenjax fuzz --seeds 1000
    tokenjax fuzz --seeds 100 --first 4200 --target images,configs --json fuzz.json

Every seed makes one input, whole or damaged, and has the library read it: "handled",
"refused" with a sentence, or a failure. Exit status 1 if there was any.
`python -m tokenjax.reliability.fuzz` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is damaged, and how often."""
    from tokenjax.reliability import fuzz

    fuzz.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Damage, read, and print the table.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.reliability import fuzz

    fuzz.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("fuzz")
