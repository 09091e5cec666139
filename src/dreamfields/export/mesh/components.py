"""Which connected pieces of a surface are kept: those that can be seen.

A field holds specks of fog that happen to pass the level, and where no ray of the training came, inside the object,
anything at all. Volume alone cannot tell them from a thin handle; a look from all sides can.
"""

from typing import Final

import numpy as np
import trimesh
from numpy.typing import NDArray

from dreamfields.export.mesh.mesh import Floats, Integers, compacted, signed_volumes
from dreamfields.export.mesh.raster import cover_view
from dreamfields.scene.cameras import Camera, turntable

SEEN_FRACTION: Final = 0.02
"""Pieces that fill fewer pixels than this share of the largest one's go."""

LOOK_SIZE: Final = 96
"""Pixels a side of a look."""


def visible_components(vertices: Floats, faces: Integers) -> tuple[Floats, Integers]:
    """Return the connected pieces of a closed surface (v, 3), (f, 3) that are seen from around, above or below it.

    The wall of a closed cavity is a piece of negative volume and goes too.
    """
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)  # two of a face's three edges join its corners
    labels = trimesh.graph.connected_component_labels(edges, len(vertices))  # type: ignore[no-untyped-call]
    of_faces = labels[faces[:, 0]]
    count = int(labels.max()) + 1
    kept = np.bincount(of_faces, signed_volumes(vertices, faces), count) > 0.0
    if kept.sum() > 1:
        # No view shows more than half of a closed surface, and some shows a quarter of a convex one, so what has less
        # area than this cannot be seen enough, and need not be drawn.
        areas = np.bincount(of_faces, _areas(vertices, faces), count)
        kept &= areas >= 0.25 * SEEN_FRACTION * areas[kept].max()
        seen = _pixels(vertices, faces, of_faces, kept)
        kept &= seen >= SEEN_FRACTION * seen.max()
    return compacted(vertices, faces[kept[of_faces]])


def looks(vertices: Floats) -> list[Camera]:
    """Return ten cameras that have a whole mesh (v, 3) in view: eight around it, one above and one below."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    x, y, z = (0.5 * (low + high)).tolist()
    reach = float(np.linalg.norm(high - low)) / 2.0
    fov = 2.0 * float(np.degrees(np.arcsin(min(reach / 4.0, 0.99)))) + 1.0
    around = turntable(8, 20.0, fov, (x, y, z))
    return [*around, *(Camera(0.0, elevation, 4.0, fov, (x, y, z)) for elevation in (80.0, -80.0))]


def _pixels(vertices: Floats, faces: Integers, of_faces: Integers, kept: NDArray[np.bool_]) -> Integers:
    """Count the pixels in which each piece is the nearest, over all looks."""
    drawn = np.flatnonzero(kept[of_faces])
    seen = np.zeros(len(kept), np.int64)
    for camera in looks(vertices[np.unique(faces[drawn])]):
        found = cover_view(vertices, faces[drawn], camera, LOOK_SIZE)
        seen += np.bincount(of_faces[drawn[found.faces[found.mask]]], minlength=len(kept))
    return seen


def _areas(vertices: Floats, faces: Integers) -> Floats:
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    areas: Floats = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return areas
