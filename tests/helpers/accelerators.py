"""Programs that must be there for accelerators too, lowered where none is."""

from tokenjax.benchmark import lowering

PLATFORMS = ("cuda", "tpu")


def hold_to_accelerators(program, *arguments):
    """Lower a jitted function for each; what was called before is not traced again."""
    module = lowering.lower(program.trace(*arguments), *PLATFORMS)
    assert module.operation.verify()
