"""The mesh: a closed surface with a colour at each vertex, and a texture where one was made.

Notation: v vertices, f faces, s texels a side of a texture, w texture corners: a vertex on a seam has several.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Atlas:
    """Where each face of a mesh lies in its texture."""

    uv: NDArray[np.float32]
    """(w, 2) in [0, 1], from the left and from the bottom of the image, as in OBJ; glTF counts from the top."""
    vertices: NDArray[np.int32]  # (w,) the mesh's vertex of each corner
    faces: NDArray[np.int32]  # (f, 3) corners of each face, in the order of the mesh's faces and their vertices


@dataclass(frozen=True)
class Texture:
    """An image of a mesh's surface."""

    image: NDArray[np.uint8]  # (s, s, 3) sRGB, row 0 at the top
    atlas: Atlas


@dataclass(frozen=True)
class Mesh:
    """A closed triangle mesh in the world's frame: +Y up, front towards +Z."""

    vertices: NDArray[np.float32]  # (v, 3) in scene units
    faces: NDArray[np.int32]  # (f, 3) indices of vertices, counter-clockwise seen from outside
    colours: NDArray[np.uint8]  # (v, 3) sRGB
    texture: Texture | None = None  # Finer than the vertices' colours; None where there is none


def vertex_normals(vertices: Floats, faces: Integers) -> Floats:
    """Return outward unit normals (v, 3), the area-weighted mean of each vertex's faces; +Y where that is zero."""
    corners = vertices[faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).repeat(3, axis=0)
    sums = np.stack([np.bincount(faces.ravel(), area, len(vertices)) for area in areas.T], axis=1)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # glTF wants unit normals even at a vertex whose faces cancel.
    return np.where(lengths > 0.0, sums / np.where(lengths > 0.0, lengths, 1.0), np.array([0.0, 1.0, 0.0]))


def signed_volumes(vertices: Floats, faces: Integers) -> Floats:
    """Return the volume (f,) of the tetrahedron each face spans with the origin; summed, a closed mesh's volume."""
    volumes: Floats = np.linalg.det(vertices[faces].astype(np.float64)) / 6.0
    return volumes


def compacted(vertices: Floats, faces: Integers) -> tuple[Floats, Integers]:
    """Return only the vertices that faces use, and the faces renumbered."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3)
