"""The table of mesh formats: a new one is a file with one function, and one line here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from dreamfields.export.glb import glb_bytes
from dreamfields.export.mesh import Mesh
from dreamfields.export.ply import ply_bytes
from dreamfields.export.settings import Metadata
from dreamfields.export.stl import stl_bytes

Writer = Callable[[Mesh, Metadata], bytes]
"""Turns a mesh and the facts about it into the bytes of a file."""

WRITERS: Final[Mapping[str, Writer]] = MappingProxyType({".glb": glb_bytes, ".ply": ply_bytes, ".stl": stl_bytes})
"""Writers by the suffix of the file."""
