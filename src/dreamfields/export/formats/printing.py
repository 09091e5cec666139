"""The frame of 3D printers' software: millimetres, +Z up, the object on the bed."""

import numpy as np

from dreamfields.export.mesh.mesh import Floats, Mesh


def to_print_frame(mesh: Mesh, size_mm: float) -> Floats:
    """Return a mesh's vertices (v, 3) in millimetres, turned from +Y up to +Z up, its front towards -Y.

    Its largest extent is `size_mm`; it stands in the middle of the bed, z = 0.
    """
    turned = (mesh.vertices.astype(np.float64) * [1.0, 1.0, -1.0])[:, [0, 2, 1]]
    low, high = turned.min(axis=0), turned.max(axis=0)
    foot = [0.5 * (low[0] + high[0]), 0.5 * (low[1] + high[1]), low[2]]
    millimetres: Floats = (turned - foot) * (size_mm / (high - low).max())
    return millimetres
