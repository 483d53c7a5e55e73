"""`python -m tokenjax.data.synthetic_reid`: see `tokenjax.commands.data`."""

import runpy

from tokenjax.data.people.synthetic_reid import generate

__all__ = ["generate"]

if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.data", run_name="__main__")
