"""Vary a configuration's settings: `study` by its other name.

    tokenjax ablate --config configs/routing.py --jobs 2
    tokenjax ablate --config configs/sdtps.py:ablation
    tokenjax ablate --config configs/routing.py --workdir runs/mine --config.epochs=2

What is varied is in the configuration's section `ablation` (see `tokenjax.study.grid`).
The same command goes on where it was cut. `python -m tokenjax.training.ablate` does the
same.
"""

from tokenjax import command_line
from tokenjax.commands.study import define_flags, main

__all__ = ["define_flags", "main"]

if __name__ == "__main__":
    command_line.run("ablate")
