"""Measure time and memory of the retrieval evaluation.

    tokenjax retrieval_cost
    tokenjax retrieval_cost --queries 10000 --gallery 100000 --dim 768
    tokenjax retrieval_cost --queries 500 --gallery 4000 --check

Features are seeded: an identity is a random vector, an image this vector and noise.
--check ranks the gallery for a few queries again, in numpy and float64, and compares
their AP.
`python -m tokenjax.benchmark.retrieval` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define how much is ranked."""
    from tokenjax.benchmark import retrieval

    retrieval.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Make features, rank them and print what that took.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import retrieval

    command_line.enable_compilation_cache()
    retrieval.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("retrieval_cost")
