"""Show what models cost and, where that is known, what they reach.

    tokenjax analyze
    tokenjax analyze --models vit,vdpa --image_size 32 --csv out.csv
    tokenjax analyze --models 'dynamic_vit(embed_dim=384,num_heads=6),vit(depth=12)'
    tokenjax analyze --models vit --set depth=4 \\
        --evaluations vit=runs/vit/evaluation.json --figure trade.png
    tokenjax analyze --workdirs vit=runs/vit,vdpa=runs/vdpa-default
    tokenjax analyze --workdirs mine=runs/mine --import my_model.py

A table of parameters, their size, GFLOPs, GMACs, latency and throughput; without names
of the four models that CIFAR-ViT's own table compares. With top-1 of evaluations also a
figure of accuracy over latency. A run's directory brings its model, with the arguments
and image size that it was trained with, and its evaluation.
`python -m tokenjax.benchmark.analyze` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is measured, and how."""
    from tokenjax.benchmark import analyze

    analyze.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Measure, print the table and write the files.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import analyze

    analyze.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("analyze")
