"""The table of formats: a new one is a file with one function, and one line here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dreamfields.errors import UsageError
from dreamfields.export.asset import Asset
from dreamfields.export.formats import glb, obj, ply, stl, threemf, usdz
from dreamfields.export.formats import npz as raw
from dreamfields.settings import unknown_name
from dreamfields.storage import atomic_write

Writer = Callable[[Asset, str], Mapping[str, bytes]]
"""Turns a model and the stem of its files' names into files, by name: the one asked for first."""

WRITERS: Final[Mapping[str, Writer]] = MappingProxyType(
    {
        ".glb": glb.write,
        ".obj": obj.write,
        ".ply": ply.write,
        ".stl": stl.write,
        ".3mf": threemf.write,
        ".usdz": usdz.write,
        ".npz": raw.write,
    }
)
"""Writers by the suffix of the file."""


def write_asset(asset: Asset, path: Path) -> None:
    """Write a model in the format of a path's ending; formats of several files put the others beside it.

    Raises:
        UsageError: the ending names no known format.
        MissingPackageError: the format needs a package that is not installed.
        DegenerateError: the field has no surface; nothing is written.
    """
    if path.suffix not in WRITERS:
        raise UsageError(unknown_name(path.suffix, list(WRITERS), "mesh format"))
    files = WRITERS[path.suffix](asset, path.stem)
    # The file that names the others comes last, so that it never names what is not there.
    for name, content in reversed(list(files.items())):
        atomic_write(path.with_name(name), content)
