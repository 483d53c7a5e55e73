"""Say what pictures show, by a run or a converted checkpoint.

    tokenjax predict runs/mine photo.jpg
    tokenjax predict runs/mine photos/ "more/*.png" --topk 3
    tokenjax predict runs/mine photos/ --output out.csv --figure sheet.png
    tokenjax predict converted/ photos/ --output out.json --mean 0.5 --std 0.5
    tokenjax predict runs/mine photos/ --embed vectors.npz
    tokenjax predict runs/mine photos/ --reduction tome:r=8     # fewer tokens, faster

Neither the training data nor a configuration is needed. Folders are searched to their
ends; a file that holds no picture is named and passed over, and the exit status is 2 if
none could be read. Pictures may have any size.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line

ARGUMENTS = "RUN PATH..."
BRIEF = True


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is written, and how much is told."""
    from tokenjax.prediction import command

    command.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Predict, print the table and write the files.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.prediction import command

    command_line.enable_compilation_cache()
    command.main(argv[1:], values)


if __name__ == "__main__":
    command_line.run("predict")
