"""The mesh: a closed surface with a colour at each vertex, and a texture where one was made.

Notation: v vertices, f faces, s texels a side of a texture, w texture corners: a vertex on a seam has several.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamfields.reprs import one_line, short_repr

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Atlas:
    """Where each face of a mesh lies in its texture."""

    uv: NDArray[np.float32]  # (w, 2) in [0, 1], from the left and the bottom of the image, as in OBJ
    vertices: NDArray[np.int32]  # (w,) the mesh's vertex of each corner
    faces: NDArray[np.int32]  # (f, 3) corners of each face, in the order of the mesh's faces and their vertices

    __repr__ = short_repr


@dataclass(frozen=True)
class Texture:
    """An image of a mesh's surface."""

    image: NDArray[np.uint8]  # (s, s, 3) sRGB, row 0 at the top
    atlas: Atlas

    def __repr__(self) -> str:
        """Return the size in texels and the number of texture corners."""
        return one_line("Texture", [_texels(self), f"{len(self.atlas.vertices):,} corners"])


@dataclass(frozen=True)
class Mesh:
    """A closed triangle mesh in the world's frame: +Y up, front towards +Z."""

    vertices: NDArray[np.float32]  # (v, 3) in scene units
    faces: NDArray[np.int32]  # (f, 3) indices of vertices, counter-clockwise seen from outside
    colours: NDArray[np.uint8]  # (v, 3) sRGB
    texture: Texture | None = None  # Finer than the vertices' colours; None where there is none

    def __repr__(self) -> str:
        """Return the numbers of vertices and faces, and the texture's size in texels."""
        counts = [f"{len(self.vertices):,} vertices", f"{len(self.faces):,} faces"]
        return one_line("Mesh", [*counts, "no texture" if self.texture is None else f"texture {_texels(self.texture)}"])


def vertex_normals(vertices: Floats, faces: Integers) -> Floats:
    """Return outward unit normals (v, 3), the area-weighted mean of each vertex's faces; +Y where that is zero."""
    areas = face_areas(vertices, faces).repeat(3, axis=0)
    sums = np.stack([np.bincount(faces.ravel(), area, len(vertices)) for area in areas.T], axis=1)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # glTF wants unit normals even at a vertex whose faces cancel.
    return np.where(lengths > 0.0, sums / np.where(lengths > 0.0, lengths, 1.0), np.array([0.0, 1.0, 0.0]))


def face_areas(vertices: Floats, faces: Integers) -> Floats:
    """Return vectors (f, 3) along the outward normals of faces, twice as long as the faces' areas."""
    a, b, c = vertices[faces].swapaxes(0, 1)
    return np.cross(b - a, c - a)


def signed_volumes(vertices: Floats, faces: Integers) -> Floats:
    """Return the volume (f,) of the tetrahedron each face spans with the origin; summed, a closed mesh's volume."""
    volumes: Floats = np.linalg.det(vertices[faces].astype(np.float64)) / 6.0
    return volumes


def compacted(vertices: Floats, faces: Integers) -> tuple[Floats, Integers]:
    """Return only the vertices that faces use, and the faces renumbered."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3)


def largest_extent(mesh: Mesh) -> float:
    """Return the longest side of the box around a mesh, in scene units."""
    return float(np.ptp(mesh.vertices, axis=0).max())


def stood_on_ground(mesh: Mesh) -> Floats:
    """Return the vertices (v, 3) scaled to a largest extent of 1, centred over the origin, the lowest at y = 0."""
    low, high = (bound.astype(np.float64) for bound in (mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)))
    foot = np.where([True, False, True], 0.5 * (low + high), low)
    placed: Floats = (mesh.vertices - foot) / (high - low).max()
    return placed


def to_print_frame(mesh: Mesh, size_mm: float) -> Floats:
    """Return the vertices (v, 3) as printers' software wants them: millimetres, on the bed z = 0, front towards -Y."""
    return stood_on_ground(mesh)[:, [0, 2, 1]] * [size_mm, -size_mm, size_mm]


def _texels(texture: Texture) -> str:
    height, width = texture.image.shape[:2]
    return f"{width} x {height}"
