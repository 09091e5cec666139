"""The table of formats: a new one is a file with one function `write`, and one line here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dreamfields.errors import UsageError
from dreamfields.export.asset import Asset
from dreamfields.export.formats import glb, html, npz, obj, ply, stl, threemf, usdz
from dreamfields.settings import unknown_name
from dreamfields.storage import atomic_write

Writer = Callable[[Asset, str], Mapping[str, bytes]]
"""Turns an asset and the stem of its files' names into files by name, the one with the format's suffix first."""

WRITERS: Final[Mapping[str, Writer]] = {
    ".glb": glb.write,
    ".obj": obj.write,
    ".ply": ply.write,
    ".stl": stl.write,
    ".3mf": threemf.write,
    ".usdz": usdz.write,
    ".npz": npz.write,
    ".html": html.write,
}
"""By the suffix of the file."""


def write_asset(asset: Asset, path: Path) -> None:
    """Write an asset in the format of a path's suffix; formats of several files put the others beside it.

    Raises UsageError: unknown suffix. MissingPackageError: its package is not installed. DegenerateError: no surface.
    """
    if path.suffix not in WRITERS:
        raise UsageError(unknown_name(path.suffix, list(WRITERS), "mesh format"))
    files = WRITERS[path.suffix](asset, path.stem)
    # The file that refers to the others is written last, so that it never refers to a missing one.
    for name, content in reversed(list(files.items())):
        atomic_write(path.with_name(name), content)
