"""Runs a study: see `tokenjax.study.command`."""

import sys

from absl import flags

from tokenjax import command_line
from tokenjax.study import command

if __name__ == "__main__":
    command.define_flags(sys.argv, flags.FLAGS)
    command_line.run(lambda _: command.main(sys.argv, flags.FLAGS))
