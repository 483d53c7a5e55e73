"""Measure what a start on very many examples costs.

    tokenjax index_cost
    tokenjax index_cost --examples 1000000 --shards 100
    tokenjax index_cost --examples 100000000 --folder /data/tmp --json cost.json

A set of 100 million examples is simulated (an index of 1.6 GiB, made in a temporary
folder and deleted), and loaded in a process of its own: seconds until it can train, and
its memory. Exit status 1 above 10 s or 1 GiB.
`python -m tokenjax.benchmark.index_cost` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define how large the set is."""
    from tokenjax.benchmark import index_cost

    index_cost.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Simulate, and print what a start took.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import index_cost

    index_cost.main(list(argv[:1]), values)


if __name__ == "__main__":
    command_line.run("index_cost")
