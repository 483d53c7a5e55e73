"""Measure what predicting pictures costs beside the network alone.

    tokenjax prediction_cost
    tokenjax prediction_cost --model vdpa --batch_size 32 --image_size 64

`predict` on arrays against bench's program at the same batch, in turns; decoding is
left aside. `python -m tokenjax.benchmark.prediction` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is measured, and how."""
    from tokenjax.benchmark import prediction

    prediction.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Measure, and print what came out.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import prediction

    command_line.enable_compilation_cache()
    prediction.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("prediction_cost")
