"""The table of formats: a new one is a file with one function, and one line here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from dreamfields.export import glb, obj, ply, raw, stl, threemf, usdz
from dreamfields.export.model import Model

Writer = Callable[[Model, str], Mapping[str, bytes]]
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
