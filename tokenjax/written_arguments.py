"""Models and arguments as a user writes them on a command line.

    depth=4,depths=(2, 2),name='a,b'            arguments
    vit(depth=12),resnet50,vdpa(k_neighbors=4)  models, each with its own

A comma within brackets or quotes belongs to the value. Values are Python literals:
numbers, True, None, tuples, quoted text; what is none is text as it stands.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tokenjax.errors import UserError

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ARGUMENT = re.compile(r"\s*[A-Za-z_]\w*\s*=")
# A quote opens at the start of a value alone: it is an apostrophe elsewhere.
_BEFORE_QUOTE = ("", "=", ",", ":", *_CLOSING)


class WrittenModel(NamedTuple):
    """A model's name, and the arguments written behind it."""

    name: str
    arguments: Mapping[str, object]

    @property
    def label(self) -> str:
        """Return it as it is written, without spaces or quotes that need not be."""
        if not self.arguments:
            return self.name
        return f"{self.name}({write_arguments(self.arguments)})"


def read_value(text: str) -> object:
    """Return the value of a Python literal; any other text is itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def split_list(text: str, where: str) -> list[str]:
    """Return the pieces between the commas that lie outside brackets and quotes.

    Args:
      text: what is written.
      where: what messages call the flag: "--models".

    Raises: UserError for a bracket or a quote without its other half.
    """
    ends = [i for i in _outside(text, where) if text[i] == ","]
    starts = [0, *(end + 1 for end in ends)]
    return [
        text[start:end].strip()
        for start, end in zip(starts, [*ends, len(text)], strict=True)
    ]


def split_pair(text: str, where: str) -> tuple[str, str]:
    """Return what stands before the first "=" outside brackets, and after it.

    The second is "" where there is none.

    Raises: UserError for a bracket or a quote without its other half.
    """
    equals = next((i for i in _outside(text, where) if text[i] == "="), len(text))
    return text[:equals].strip(), text[equals + 1 :].strip()


def read_arguments(texts: Iterable[str], where: str) -> dict[str, object]:
    """Turn ["depth=4,depths=(2,2)"] into {"depth": 4, "depths": (2, 2)}.

    A comma that no "name=" follows belongs to the value: depths=2,2 is a tuple.

    Args:
      texts: each with any number of arguments.
      where: what messages call the flag: "--set".

    Raises: UserError for what is no key=value, or a key that is given twice.
    """
    arguments: dict[str, object] = {}
    for text in texts:
        for piece in _joined(split_list(text, where)):
            key, value = split_pair(piece, where)
            if not key.isidentifier() or "=" not in piece:
                raise UserError(f"{where} takes key=value[,key=value], got {piece!r}")
            if key in arguments:
                raise UserError(f"{where} gives {key} twice; keep one")
            arguments[key] = read_value(value)
    return arguments


def write_arguments(arguments: Mapping[str, object]) -> str:
    """Write arguments as `read_arguments` reads them."""
    return ",".join(f"{key}={_shown(value)}" for key, value in arguments.items())


def read_model(text: str, where: str) -> WrittenModel:
    """Read a model: "vit" or "vit(depth=12,num_heads=4)".

    Raises: UserError for what is neither.
    """
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    split_list(text, where)  # says what lacks its other half
    whole = bool(name) and re.search(r"[\s,=)]", name) is None
    if bracket:
        inner, closing = rest.rstrip()[:-1], rest.rstrip()[-1:]
        whole = whole and closing == ")" and _closes_last(text.strip())
    if not whole:
        raise UserError(
            f"{where} takes name or name(key=value,...), with commas between models, "
            f"got {text!r}"
        )
    if not bracket or not inner.strip():
        return WrittenModel(name, {})
    return WrittenModel(name, read_arguments([inner], f"{where}: {name}(...)"))


def _outside(text: str, where: str) -> list[int]:
    """Return the places that lie within no brackets and no quotes.

    Raises: UserError for a bracket or a quote without its other half.
    """
    found, open_brackets, quote, before, index = [], [], "", "", 0
    while index < len(text):
        character = text[index]
        if quote:
            index += character == "\\"  # what follows is no quote's end
            quote = "" if character == quote else quote
        elif character in "'\"" and before in _BEFORE_QUOTE:
            quote = character
        elif character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif character in _CLOSING.values():
            if open_brackets[-1:] != [character]:
                raise UserError(f"{where}: a {character!r} too many in {text!r}")
            open_brackets.pop()
        elif not open_brackets:
            found.append(index)
        before = before if character.isspace() else character
        index += 1
    if quote:
        raise UserError(f"{where}: the quote {quote} is not closed in {text!r}")
    if open_brackets:
        raise UserError(f"{where}: a {open_brackets[-1]!r} is missing in {text!r}")
    return found


def _closes_last(text: str) -> bool:
    """Return whether the first bracket is closed by the last character alone."""
    inside = set(range(text.index("("), len(text)))
    return inside.isdisjoint(_outside(text, ""))


def _joined(pieces: Iterable[str]) -> list[str]:
    """Join to the piece before it what begins no argument."""
    found: list[str] = []
    for piece in pieces:
        if found and not _ARGUMENT.match(piece):
            found[-1] = f"{found[-1]},{piece}"
        else:
            found.append(piece)
    return found


def _shown(value: object) -> str:
    """Write a value so that it would be read as what it is."""
    if isinstance(value, str):
        plain = value.strip() == value and re.search(r"""[,='"()\[\]{}]""", value)
        same = read_value(value) == value and value
        return value if same and plain is None else repr(value)
    return re.sub(r",\s+", ",", repr(value)) if _is_plain(value) else repr(value)


def _is_plain(value: object) -> bool:
    """Return whether no text lies within, whose spaces would count."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float) or value is None
