"""Errors that a user can mend.

A `UserError` says in one sentence what was wrong, where, and what would be right. The
entry points print it without a traceback and exit with status 2; any other exception
that reaches them is a bug of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input, said where it enters: configuration, flag, file or checkpoint."""


class DatasetError(UserError):
    """A dataset is missing, not prepared, or holds files that cannot be read."""


class BrokenImageError(DatasetError):
    """What a file holds is no whole image; the file itself could be read."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or belongs to another model."""


class DamagedCheckpointError(CheckpointError):
    """Files of a checkpoint are missing, changed or unreadable."""


class ConversionError(UserError):
    """A state_dict does not fit the model; lists every key at fault at once."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """The sentence for a name that is not there, with the nearest one that is."""
    options = sorted(valid)
    nearest = difflib.get_close_matches(name, options, n=1)
    hint = f", did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown {kind} {name!r}{hint} Valid: {', '.join(options)}"


def shown(name: object) -> str:
    """A name or path for a sentence: quoted, with escapes, where it is not plain text.

    A file's name may hold line ends, control characters and bytes that are no UTF-8.
    """
    text = str(name)
    return text if text.isprintable() else repr(text)


def first_line(error: BaseException) -> str:
    """What another library's error says, in a line that fits into a sentence."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
