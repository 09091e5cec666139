"""PLY: vertices with sRGB colours, for MeshLab, CloudCompare and research code, in the world's frame and units."""

import numpy as np

from dreamfields.export.asset import Asset
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.settings import Metadata

VERTEX = np.dtype([("position", "<f4", 3), ("colour", "u1", 3)])
FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def write(asset: Asset, name: str) -> dict[str, bytes]:
    """Return the closed mesh with its vertex colours as one PLY file."""
    return {f"{name}.ply": ply_bytes(asset.untextured, asset.facts)}


def ply_bytes(mesh: Mesh, metadata: Metadata) -> bytes:
    """Return a mesh as binary PLY; each fact of the metadata becomes a comment, escaped where it is not plain ASCII."""
    vertices = np.zeros(len(mesh.vertices), VERTEX)
    vertices["position"], vertices["colour"] = mesh.vertices, mesh.colours
    faces = np.zeros(len(mesh.faces), FACE)
    faces["count"], faces["corners"] = 3, mesh.faces
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {key}: {value}".encode("unicode_escape").decode("ascii") for key, value in metadata.items()),
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + vertices.tobytes() + faces.tobytes()
