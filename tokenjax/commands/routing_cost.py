"""Measure what routing saves at inference.

    tokenjax routing_cost
    tokenjax routing_cost --batch_size 1,8,64,256 --csv out.csv --figure out.png
    tokenjax routing_cost --set img_size=64 --encoders lean-32-3

Two tables. The routed stage: both networks by dispatch, with exactly the shares asked
for selected, against the big network on every patch. Whole models: both routers, made
to send a quarter of the patches, against full_compute. All are timed in turns.
`python -m tokenjax.benchmark.routing` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is measured, and how."""
    from tokenjax.benchmark import routing

    routing.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Measure, print the tables and write the files.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import routing

    command_line.enable_compilation_cache()
    routing.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("routing_cost")
