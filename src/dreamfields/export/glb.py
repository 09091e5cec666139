"""GLB: the binary form of glTF 2.0, the format for viewers, browsers and Blender.

glTF is right-handed with +Y up and its front towards +Z, as the world is, so vertices are written as they stand. Three
things differ from what a plain export gives, each invisible until somebody looks:

* COLOR_0 is linear light in glTF, and a mesh holds sRGB. Eight bits of linear light would show bands in the dark, so
  colours are written as 32-bit floats.
* A primitive without a material is bare metal by the standard's defaults, which looks almost black. Ours is matt.
* A primitive without normals must be shown faceted; ours carries smooth ones.
"""

from typing import Any, Final

import numpy as np
import trimesh
from numpy.typing import NDArray
from trimesh.exchange.gltf import export_glb

from dreamfields.export.mesh import Mesh, vertex_normals
from dreamfields.export.settings import Metadata

MATT: Final = {"name": "matt", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}


def glb_bytes(mesh: Mesh, metadata: Metadata) -> bytes:
    """Return a mesh as GLB without compression that needs a decoder; metadata become the extras of its scene."""
    shape = trimesh.Trimesh(
        mesh.vertices, mesh.faces, vertex_normals=vertex_normals(mesh.vertices, mesh.faces), process=False
    )
    shape.vertex_attributes["_colour"] = linear_from_srgb(mesh.colours)

    def finish(tree: dict[str, Any]) -> None:
        tree["asset"]["generator"] = "dreamfields"
        tree["scenes"][0]["extras"] = dict(metadata)
        tree["materials"] = [MATT]
        (primitive,) = tree["meshes"][0]["primitives"]
        primitive["material"] = 0
        primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop("_colour")

    scene = trimesh.Scene()
    scene.add_geometry(shape, geom_name="object", node_name="object")
    content: bytes = export_glb(scene, include_normals=True, tree_postprocessor=finish)  # type: ignore[no-untyped-call]
    return content


def linear_from_srgb(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return linear light in [0, 1] of 8-bit sRGB values (IEC 61966-2-1), in any shape."""
    encoded = colours.astype(np.float64) / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)
