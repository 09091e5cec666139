"""The table of formats: a new one is a file with one function `write`, and one line here.

Nothing here imports torch, so that a file that cannot be written is refused at once; a format's module, which does, is
imported with its first file.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from dreamfields.errors import UsageError
from dreamfields.export.endings import known_ending
from dreamfields.export.formats.companions import refuse_foreign
from dreamfields.export.formats.packages import check_usd
from dreamfields.storage import atomic_write

if TYPE_CHECKING:
    from dreamfields.export.asset import Asset

PRINT_MM: Final = 100.0  # Default largest extent of a printed object: it fits every common printer
AR_MM: Final = 200.0  # That of an object which is placed in a room: it stands on a table


class FormatModule(Protocol):
    """The function that the module of a format defines."""

    def write(self, asset: "Asset", name: str, size_mm: float, /) -> Mapping[str, bytes]:
        """Return an asset's files by name, the one with the format's ending first; `name` is the stem of all.

        `size_mm` is the object's largest extent in millimetres, and 0 for a format without a unit of length.
        """


@dataclass(frozen=True)
class Format:
    """One format of an object."""

    module: str  # A `FormatModule`, by its full name
    size_mm: float = 0.0  # Default largest extent in millimetres; 0 for a format without a unit of length
    companions: tuple[str, ...] = ()  # Endings of the files that are written beside it
    check: Callable[[], None] = lambda: None
    """Raises MissingPackageError unless the packages that it needs are installed; loads nothing heavy."""

    def files(self, asset: "Asset", name: str) -> Mapping[str, bytes]:
        """Return an asset's files by name, the one with the format's ending first; `name` is the stem of all."""
        module = cast(FormatModule, importlib.import_module(self.module))
        size_mm = 0.0 if self.size_mm == 0.0 else asset.size_mm or self.size_mm
        return module.write(asset, name, size_mm)


FORMATS: Final[Mapping[str, Format]] = {
    ".glb": Format("dreamfields.export.formats.glb", AR_MM),
    ".obj": Format("dreamfields.export.formats.obj", companions=(".mtl", ".png")),
    ".ply": Format("dreamfields.export.formats.ply"),
    ".stl": Format("dreamfields.export.formats.stl", PRINT_MM),
    ".3mf": Format("dreamfields.export.formats.threemf", PRINT_MM),
    ".usdz": Format("dreamfields.export.formats.usdz", AR_MM, check=check_usd),
    ".npz": Format("dreamfields.export.formats.npz"),
    ".html": Format("dreamfields.export.formats.html", AR_MM),
}
"""By the ending of the file, in small letters."""


def format_of(path: Path) -> Format:
    """Return the format that a path's ending names. Raises UsageError: it names none."""
    return FORMATS[known_ending(path, FORMATS, "mesh format")]


def check_size(path: Path, size_mm: float | None) -> None:
    """Make sure that a size, where one is given, has a meaning in the format of a path.

    Raises UsageError: it has none, or the path's ending names no format.
    """
    if format_of(path).size_mm == 0.0 and size_mm is not None:
        sized = ", ".join(ending for ending, known in FORMATS.items() if known.size_mm > 0.0)
        raise UsageError(
            f"{path.suffix} has no unit of length; leave --size-mm out, or choose one of {sized}, which have one"
        )


def check_target(path: Path, *, force: bool = False) -> None:
    """Make sure, before any work, that a file can be written in the format of its ending.

    Raises:
        UsageError: unknown ending, or a file beside it, which nobody named, would be replaced and is not ours; `force`
            allows that.
        MissingPackageError: the format's package is not installed.
    """
    chosen = format_of(path)
    chosen.check()
    if not force:
        refuse_foreign(path.with_name(f"{path.stem}{ending}") for ending in chosen.companions)


def write_asset(asset: "Asset", path: Path, *, force: bool = False) -> None:
    """Write an asset in the format of a path's ending; formats of several files put the others beside it.

    Raises DegenerateError: no surface. Raises UsageError, MissingPackageError: as `check_target`.
    """
    check_target(path, force=force)
    named, *others = format_of(path).files(asset, path.stem).items()
    # The file that refers to the others is written last, so that it never refers to a missing one.
    for name, content in reversed(others):
        atomic_write(path.with_name(name), content)
    # Its ending may be in capitals.
    atomic_write(path, named[1])
