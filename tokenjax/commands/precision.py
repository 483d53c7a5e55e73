"""Measure half precision against float32, ours and PyTorch's.

    tokenjax precision
    tokenjax precision --models vit_small_patch16,vdpa,demo --image_size 224
    tokenjax precision --model dynamic_vit --dtype bfloat16,float16 --seeds 10
    tokenjax precision --models vdpa,swin_tiny --json errors.json --markdown errors.md

Every program is held to its own in float32, with the same wide random weights: the
error is the norm of the difference over the norm, of the outputs and of gradients.
Where PyTorch is installed, the same model in it, under autocast, stands beside ours.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is measured, and how."""
    from tokenjax.benchmark import precision_table

    precision_table.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Measure, print the table and write the files.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import precision_table

    command_line.enable_compilation_cache()
    precision_table.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("precision")
