"""List every setting: key, type, default, value here, meaning.

    tokenjax settings                                        # the defaults
    tokenjax settings --config configs/vdpa.py:paper         # a configuration's
    tokenjax settings --config configs/vdpa.py --config.model.name=vit
    tokenjax settings --match learning_rate                  # some
    tokenjax settings --match model.name                     # one: its type in full
    tokenjax settings --match model. --config configs/routing.py
    tokenjax settings --config configs/vdpa.py --changed     # what differs alone

Each can be set with --config.KEY=VALUE of train and eval, whether a file names it or
not. A value that is not the default is marked with *; None stands for what follows
from the data, or is not given.
"""

from collections.abc import Sequence
from typing import Any

from absl import flags

from tokenjax import command_line
from tokenjax.errors import UserError

COMPUTES = False  # nothing that huge pages would speed up
LONGEST_TYPE = 40  # characters of a table's cell; one setting alone is shown whole


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define which configuration is listed, and how much of it."""
    command_line.define_config(argv, values, required=False)
    options: Any = {"flag_values": values}
    flags.DEFINE_string("match", "", "only keys that contain this", **options)
    flags.DEFINE_bool("changed", False, "only what is not the default", **options)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Print the table.

    Raises: UserError for a configuration that is none, or if nothing matches.
    """
    from tokenjax import tables
    from tokenjax.configuration import Row, list_settings

    del argv
    rows = [row for row in list_settings(values.config) if values.match in row.key]
    if values.changed:
        rows = [row for row in rows if row.is_changed]
    if not rows:
        raise UserError(
            f"no setting has {values.match!r} in its key, or none is changed"
        )

    def shorten(row: Row) -> str:
        whole = len(rows) == 1 or len(row.type) <= LONGEST_TYPE
        return row.type if whole else f"{row.type[: LONGEST_TYPE - 3]}..."

    columns: tuple[tables.Column[Row], ...] = (
        tables.Column("Key", lambda row: row.key),
        tables.Column("Type", shorten),
        tables.Column("Default", lambda row: _show(row.default)),
        tables.Column("Here", lambda row: _show(row.value) + "*" * row.is_changed),
        tables.Column("Meaning", lambda row: row.meaning),
    )
    print("\n".join(tables.text_lines(rows, columns)))


def _show(value: Any) -> str:
    return repr(value) if value == "" else str(value)


if __name__ == "__main__":
    command_line.run("settings")
