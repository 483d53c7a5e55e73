"""Check in minutes whether all is right and fast on a device.

    tokenjax check_device
    tokenjax check_device --minutes 7 --output /tmp/check
    tokenjax check_device --steps device,parity
    tokenjax check_device --tiny --minutes 4          # does everything run at all?

`tokenjax check-device` is the same. Steps are processes of their own, the most
important first: what the device is, parity with recorded numbers, our programs against
torch.compile, what reductions and routing save, half precision, the time to the first
row, training runs, retrieval, state sharded over devices. A step that hangs or crashes
ends alone. Writes check_device.json after each step and prints a line for it, at the
end a table; docs/check_device.md says how to read them. Exit status 1: something failed
or took longer than its limit.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define how long, which steps, and where the results go."""
    from tokenjax.device_check import command

    command.define_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run the steps, print the table and write the files.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.device_check import command

    command.main(values)


if __name__ == "__main__":
    command_line.run("check_device")
