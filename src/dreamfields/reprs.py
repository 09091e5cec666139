"""Representations of values that hold arrays: one line with shapes in the place of numbers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

_LONGEST: Final = 180  # Characters
_LONGEST_TEXT: Final = 40  # Characters of a text within it


def one_line(kind: str, parts: Sequence[str]) -> str:
    """Return `<kind, part, part>`, cut if it is longer than 180 characters."""
    line = f"<{', '.join([kind, *parts])}>"
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 5]} ...>"


def short_repr(self: object) -> str:
    """Represent a dataclass by its fields, arrays by their shapes; to be used as its `__repr__`."""
    if not dataclasses.is_dataclass(self):
        return object.__repr__(self)
    values = ((entry.name, getattr(self, entry.name, None)) for entry in dataclasses.fields(self))
    return one_line(type(self).__name__, [described(name, value) for name, value in values if value is not None])


def described(name: str, value: object) -> str:
    """Describe a named value in a few words: an array by its shape, a table or list by its length."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"{name} ({', '.join(map(str, shape))})"
    if isinstance(value, str):
        return f'{name} "{shortened_text(value)}"'
    if isinstance(value, (int, float)):
        return f"{name} {value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{name} {value}"
    if isinstance(value, (Mapping, Sequence)):
        return f"{len(value)} {name}"
    return f"{name} {type(value).__name__}"


def shortened_text(text: str) -> str:
    """Return a text on one line of at most 40 characters, the rest as dots."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 3]}..."
