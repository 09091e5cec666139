"""The ending of a file's name says its format, in small letters or capitals. Nothing here imports torch."""

import difflib
import reprlib
from collections.abc import Iterable
from pathlib import Path

from dreamfields.errors import UsageError


def known_ending(path: Path, known: Iterable[str], what: str) -> str:
    """Return the ending of a path as it stands among the known ones, which are in small letters.

    Raises UsageError: there is none, or an unknown one; the sentence names all, and the nearest if one is near.
    """
    endings, given = list(known), path.suffix
    if given.lower() in endings:
        return given.lower()
    listed = ", ".join(endings)
    if not given:
        raise UsageError(f"{path.name!r} has no ending, which says the {what}; give it one of {listed}")
    near = difflib.get_close_matches(given.lower(), endings, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"there is no {what} called {reprlib.repr(given)}; {hint}known: {listed}")
