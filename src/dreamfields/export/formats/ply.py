"""PLY: vertices with sRGB colours, for MeshLab, CloudCompare and research code, in the world's frame and units."""

import numpy as np

from dreamfields.export.asset import Asset

VERTEX = np.dtype([("position", "<f4", 3), ("colour", "u1", 3)])
FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def write(asset: Asset, name: str, _: float) -> dict[str, bytes]:
    """Return the closed mesh with its vertex colours as binary PLY; facts become comments, escaped to plain ASCII."""
    mesh = asset.untextured
    vertices = np.zeros(len(mesh.vertices), VERTEX)
    vertices["position"], vertices["colour"] = mesh.vertices, mesh.colours
    faces = np.zeros(len(mesh.faces), FACE)
    faces["count"], faces["corners"] = 3, mesh.faces
    header = [
        "ply\nformat binary_little_endian 1.0",
        *(f"comment {key}: {value}".encode("unicode_escape").decode("ascii") for key, value in asset.facts.items()),
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return {f"{name}.ply": "\n".join(header).encode("ascii") + vertices.tobytes() + faces.tobytes()}
