"""STL: the shape alone, for 3D printing; it has neither units nor an up axis, so it is in the frame of 3D printers."""

from typing import Final

import numpy as np

from dreamfields.export.asset import Asset
from dreamfields.export.mesh.mesh import face_areas, to_print_frame

FACET: Final = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write(asset: Asset, name: str, size_mm: float) -> dict[str, bytes]:
    """Return the closed mesh as binary STL, with as much of the facts as the header's 80 bytes hold."""
    vertices, faces = to_print_frame(asset.untextured, size_mm), asset.untextured.faces
    facets = np.zeros(len(faces), FACET)
    # Of the corners as they are written: rounding turns the thinnest facets a little.
    normals = face_areas(vertices.astype(np.float32).astype(np.float64), faces)
    facets["corners"] = vertices[faces]
    facets["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    # Readers take a file that begins with "solid" for text, so the name of the package comes first.
    label = ", ".join(["dreamfields", *(f"{key}: {value}" for key, value in asset.facts.items())])
    # Some readers take the header for text that ends at a zero byte, and would read on without one.
    header = label.encode("ascii", "replace")[:79].ljust(80, b"\0")
    return {f"{name}.stl": header + len(facets).to_bytes(4, "little") + facets.tobytes()}
