"""The commands of `tokenjax`, one file each; a file here is a command, by its name.

The file's docstring is the command's `--help`: a line that says what it does, then
examples. Its functions do the rest, and import what is heavy when they are called:

    def define_flags(argv, values): ...   # the command's own flags, into `values`
    def main(argv, values): ...           # does it; raises UserError

A command that computes nothing says `COMPUTES = False`: its process then keeps the
allocator as it is. `argv` is the command line as it was given, the program first. One
that takes more than flags says what, `ARGUMENTS = "RUN PATH..."`, and its `main` gets
the program and these.
"""

from tokenjax.command_files import Command, load, names

__all__ = ["Command", "load", "names"]
