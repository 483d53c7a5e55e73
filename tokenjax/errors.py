"""Errors that a user can mend.

A `UserError` says in one sentence what was wrong, where, and what would be right. The
entry points print it without a traceback and exit with status 2; any other exception
that reaches them is a bug of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input that a user can mend, said where it enters: flag, file, checkpoint."""


class DatasetError(UserError):
    """Error of a dataset: missing, not prepared, or with files that cannot be read."""


class BrokenImageError(DatasetError):
    """Error of a file that can be read but holds no whole image."""


class CheckpointError(UserError):
    """Error of a checkpoint: missing, damaged, or of another model."""


class DamagedCheckpointError(CheckpointError):
    """Error of a checkpoint of which files are missing, changed or unreadable."""


class ConversionError(UserError):
    """Error of a state_dict that does not fit the model; names every key at fault."""


class BadFlagError(Exception):
    """Carries a sentence through absl, which wraps every ValueError in its own."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """Return the sentence for a name that is not there, with the nearest that is."""
    options = sorted(valid)
    small = {option.lower(): option for option in options}
    found = difflib.get_close_matches(name.lower(), small, n=1)
    nearest = [small[each] for each in found]
    hint = f", did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown {kind} {name!r}{hint} Valid: {', '.join(options)}"


def unknown_of_many(kind: str, name: str, valid: Iterable[str]) -> str:
    """Return `unknown_name` of things that a module of the user's own may add to."""
    return f"{unknown_name(kind, name, valid)}; one of your own needs --import"


def shown(name: object) -> str:
    """Return a name or path for a sentence: quoted, escaped, if it is not plain text.

    A file's name may hold line ends, control characters and bytes that are no UTF-8.
    """
    text = str(name)
    return text if text.isprintable() else repr(text)


def first_line(error: BaseException) -> str:
    """Return what another library's error says, in a line that fits a sentence."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
