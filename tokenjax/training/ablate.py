"""Varies a configuration's settings: `python -m tokenjax.study` by its other name.

python -m tokenjax.training.ablate --config configs/routing.py [--workdir DIR]
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("tokenjax.study", run_name="__main__")
