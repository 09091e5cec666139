"""Keep the connected components of a surface that are visible from outside.

Small clouds of fog, and arbitrary density inside the object that no training ray reached, are components too. Volume
alone cannot distinguish these from a thin handle; the number of visible pixels can.
"""

from typing import Final

import numpy as np
import trimesh
from numpy.typing import NDArray

from dreamfields.export.mesh.mesh import Floats, Integers, compacted, signed_volumes
from dreamfields.export.mesh.raster import cover_view
from dreamfields.scene.cameras import Camera, turntable

VISIBLE_FRACTION: Final = 0.02  # Components with fewer visible pixels than this fraction of the largest are dropped
VIEW_SIZE: Final = 96  # Pixels a side of the views in which they are counted


def visible_components(vertices: Floats, faces: Integers) -> tuple[Floats, Integers]:
    """Return the components of a closed surface (v, 3), (f, 3) that are visible from around, above or below it."""
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)  # two of a face's three edges connect its corners
    labels = trimesh.graph.connected_component_labels(edges, len(vertices))  # type: ignore[no-untyped-call]
    component = labels[faces[:, 0]]
    count = int(labels.max()) + 1
    kept = np.bincount(component, signed_volumes(vertices, faces), count) > 0.0  # negative for a cavity's wall
    if kept.sum() > 1:
        # Some view shows a quarter of a convex surface's area, so components of too little area need not be drawn.
        areas = np.bincount(component, trimesh.triangles.area(vertices[faces]), count)  # type: ignore[no-untyped-call]
        kept &= areas >= 0.25 * VISIBLE_FRACTION * areas[kept].max()
        pixels = _visible_pixels(vertices, faces, component, kept)
        kept &= pixels >= VISIBLE_FRACTION * pixels.max()
    return compacted(vertices, faces[kept[component]])


def cameras_around(vertices: Floats) -> list[Camera]:
    """Return ten cameras that have a whole mesh (v, 3) in view: eight around it, one above and one below."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    x, y, z = (0.5 * (low + high)).tolist()
    radius = float(np.linalg.norm(high - low)) / 2.0
    fov = 2.0 * float(np.degrees(np.arcsin(min(radius / 4.0, 0.99)))) + 1.0
    above_and_below = (Camera(0.0, elevation, 4.0, fov, (x, y, z)) for elevation in (80.0, -80.0))
    return [*turntable(8, 20.0, fov, (x, y, z)), *above_and_below]


def _visible_pixels(vertices: Floats, faces: Integers, component: Integers, kept: NDArray[np.bool_]) -> Integers:
    """Count the pixels in which each component is the nearest, over all views."""
    drawn = np.flatnonzero(kept[component])
    pixels = np.zeros(len(kept), np.int64)
    for camera in cameras_around(vertices[np.unique(faces[drawn])]):
        coverage = cover_view(vertices, faces[drawn], camera, VIEW_SIZE)
        pixels += np.bincount(component[drawn[coverage.faces[coverage.mask]]], minlength=len(kept))
    return pixels
