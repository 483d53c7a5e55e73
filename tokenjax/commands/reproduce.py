"""Repeat an original's experiments; report what of its README holds.

    tokenjax reproduce cifar_vit --data fashion_mnist --budget 60
    tokenjax reproduce cifar_vit --data cifar10 --budget 600 --seeds 0,1,2
    tokenjax reproduce cifar_vit --data digits --budget 5 --seeds 0 --output report.md
    tokenjax reproduce cifar_vit --data fashion_mnist --workdir runs/mine --jobs 2

Trains the four models of CIFAR-ViT's table, balanced and imbalanced with every answer,
measures what they cost, and writes docs/experiment_report.md with its figures, whole
from what was measured. `--budget` are minutes for all runs together; how long each is
follows from a measurement at the start. The same command goes on where it was cut, and
once all runs are there it writes the report again.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line, path_flags

ARGUMENTS = "cifar_vit"
DATA = ("cifar10", "fashion_mnist", "digits")
MINUTES = 60.0
REPORT = "docs/experiment_report.md"


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define the data, the budget, the seeds and where files go."""
    text = "what to train on; digits are there to see that it runs"
    flags.DEFINE_enum("data", DATA[0], DATA, text, flag_values=values)
    text = "minutes for all runs together; what is measured for the report comes on top"
    flags.DEFINE_float("budget", MINUTES, text, flag_values=values)
    flags.DEFINE_list("seeds", ["0", "1", "2"], "of the runs", flag_values=values)
    text = "default: runs/reproduce_cifar_vit-DATA"
    path_flags.define("workdir", "", text, values)
    text = "the report; its figures go into the folder figures beside it"
    path_flags.define("output", REPORT, text, values)
    text = "runs at a time, each on its share of the cores; 1 on an accelerator"
    flags.DEFINE_integer("jobs", 1, text, flag_values=values, lower_bound=1)
    text = "one job alone, by name (what --jobs start)"
    flags.DEFINE_string("run", "", text, flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run what is missing, then write the report.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.reproduction import command

    command_line.enable_compilation_cache()
    command.main(argv, values)


if __name__ == "__main__":
    command_line.run("reproduce")
