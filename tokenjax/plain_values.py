"""The values that a configuration may hold: plain and finite, wherever they came from.

Checked before anything is built from it: config.json has to hold it, and a number that
is none would be met again only in the middle of a run.
"""

import math

from tokenjax.errors import UserError, shown

LARGEST_INTEGER = 2**53  # that JSON holds on every machine
DEEPEST = 20  # sections within sections


def check_plain(value: object, where: str = "", depth: int = 0) -> None:
    """Raise UserError unless all is numbers, text, None or lists and dicts of them.

    Args:
      value: a section or a value of a configuration.
      where: its keys so far, "model.depth".
      depth: of the section.
    """
    name = f"config: {shown(where)}" if where else "config"
    if depth > DEEPEST:
        raise UserError(f"{name} lies deeper than {DEEPEST} sections")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UserError(f"{name} has the key {key!r}, which is no text")
            check_plain(item, f"{where}.{key}".lstrip("."), depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            check_plain(item, where, depth + 1)
    elif type(value) is float:
        if not math.isfinite(value):
            raise UserError(f"{name} must be finite, got {value}")
    elif type(value) is int:
        if abs(value) > LARGEST_INTEGER:
            raise UserError(f"{name} must be within 2^53 of 0, got {value:.3g}")
    elif not isinstance(value, bool | str) and value is not None:
        raise UserError(
            f"{name} must be a number, text, True, False, None or a list of them, got "
            f"a {type(value).__name__}"
        )
