"""`python -m tokenjax.study`: see `tokenjax.commands.study`."""

import runpy

runpy.run_module("tokenjax.commands.study", run_name="__main__")
