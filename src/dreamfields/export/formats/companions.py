"""Files beside a named one, whose names nobody gave: only those that dreamfields wrote are replaced unasked."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dreamfields.errors import UsageError

MARK: Final = "companion of the OBJ file of this name, written by dreamfields"
"""Stands near the beginning of each companion file: as a comment in MTL, and as a text chunk in PNG."""
_HEAD: Final = 65_536  # Bytes in which it must be found


def is_companion(path: Path) -> bool:
    """Tell whether a file is a companion that dreamfields wrote."""
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            return MARK.encode() in file.read(_HEAD)
    except OSError:
        return False


def refuse_foreign(paths: Iterable[Path]) -> None:
    """Make sure that of these files only companions that dreamfields wrote are there. Raises UsageError."""
    foreign = [str(path) for path in paths if os.path.lexists(path) and not is_companion(path)]
    if foreign:
        raise UsageError(
            f"{' and '.join(foreign)} would be replaced and {'are' if foreign[1:] else 'is'} no part of an earlier "
            "export; choose another --out, move what is there away, or add --force to replace it"
        )
