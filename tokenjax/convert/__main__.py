"""`python -m tokenjax.convert`: see `tokenjax.commands.convert`."""

import runpy

runpy.run_module("tokenjax.commands.convert", run_name="__main__")
