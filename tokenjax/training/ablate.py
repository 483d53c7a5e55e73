"""Vary a configuration's settings: the same as `python -m tokenjax ablate`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.ablate", run_name="__main__")
