"""Kill a training run at random; it must end as if undisturbed.

    tokenjax chaos --kills 50 --workdir runs/chaos
    tokenjax chaos --kills 50 --workdir runs/chaos2 --processes 2

Writes chaos.json and chaos.md to the workdir; the exit status is 1 if a kill was not
survived. `python -m tokenjax.reliability.chaos` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define the run, and its kills."""
    from tokenjax.reliability import chaos

    chaos.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run, kill, and print the verdict.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.reliability import chaos

    command_line.enable_compilation_cache()
    chaos.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("chaos")
