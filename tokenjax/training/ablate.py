"""`python -m tokenjax.training.ablate`: see `tokenjax.commands.ablate`."""

import runpy

runpy.run_module("tokenjax.commands.ablate", run_name="__main__")
