"""STL: the shape alone, for 3D printing.

The format has neither units nor an up axis. Printers' software reads millimetres with +Z up, so the object is turned
from +Y up, scaled to a hand's size and set on the bed.
"""

from typing import Final

import numpy as np

from dreamfields.export.mesh import Mesh
from dreamfields.export.settings import Metadata

PRINT_MM: Final = 100.0
"""Largest extent of the printed object in millimetres: it fits every common printer, and is easily scaled there."""

FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def stl_bytes(mesh: Mesh, metadata: Metadata) -> bytes:
    """Return a mesh as binary STL; of the metadata only as much as the header's 80 bytes hold."""
    turned = mesh.vertices.astype(np.float64) * [1.0, 1.0, -1.0]
    turned = turned[:, [0, 2, 1]]
    low, high = turned.min(axis=0), turned.max(axis=0)
    middle = [0.5 * (low[0] + high[0]), 0.5 * (low[1] + high[1]), low[2]]
    corners = ((turned - middle) * (PRINT_MM / (high - low).max()))[mesh.faces]
    facets = np.zeros(len(corners), FACET)
    facets["corners"] = corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facets["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    # Readers take a file that begins with "solid" for text, so the name of the package comes first.
    label = ", ".join(["dreamfields", *(f"{key}: {value}" for key, value in metadata.items())])
    header = label.encode("ascii", "replace")[:80].ljust(80)
    return header + len(facets).to_bytes(4, "little") + facets.tobytes()
