"""STL: the shape alone, for 3D printing; it has neither units nor an up axis, so it is in the frame of `printing`."""

from typing import Final

import numpy as np

from dreamfields.export.asset import Asset
from dreamfields.export.formats.printing import to_print_frame
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.settings import Metadata

FACET: Final = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write(asset: Asset, name: str) -> dict[str, bytes]:
    """Return the closed mesh as one STL file."""
    return {f"{name}.stl": stl_bytes(asset.untextured, asset.facts, asset.size_mm)}


def stl_bytes(mesh: Mesh, metadata: Metadata, size_mm: float) -> bytes:
    """Return a mesh as binary STL; of the metadata only as much as the header's 80 bytes hold."""
    corners = to_print_frame(mesh, size_mm)[mesh.faces]
    facets = np.zeros(len(corners), FACET)
    facets["corners"] = corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facets["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    # Readers take a file that begins with "solid" for text, so the name of the package comes first.
    label = ", ".join(["dreamfields", *(f"{key}: {value}" for key, value in metadata.items())])
    header = label.encode("ascii", "replace")[:80].ljust(80)
    return header + len(facets).to_bytes(4, "little") + facets.tobytes()
