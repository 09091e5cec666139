"""GLB: the binary form of glTF 2.0, for viewers, browsers and Blender; its axes and origin are the world's.

* Its unit is the metre, so the object gets a size; `metres_per_unit` in the extras leads back to scene units.
* COLOR_0 is linear light while a mesh holds sRGB. Eight bits of linear light show bands in dark colours, so vertex
  colours are 32-bit floats. A texture is sRGB in both; vertex colours beside it would darken it.
* A primitive without a material is metal by default, which looks almost black. The mesh has a matt one.
* A primitive without normals must be shown faceted. The mesh has smooth ones, continuous across a texture's seams.
"""

from typing import Any, Final

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from dreamfields.export.asset import Asset
from dreamfields.export.mesh.mesh import Mesh, largest_extent, vertex_normals
from dreamfields.export.settings import Metadata

MATT: Final = {"metallicFactor": 0.0, "roughnessFactor": 1.0}


def write(asset: Asset, name: str, size_mm: float) -> dict[str, bytes]:
    """Return the textured mesh as one GLB file."""
    return {f"{name}.glb": glb_bytes(asset.mesh, asset.facts, size_mm)}


def glb_bytes(mesh: Mesh, metadata: Metadata, size_mm: float) -> bytes:
    """Return a mesh as GLB without compression that needs a decoder; metadata become the extras of its scene.

    Vertices are scaled about the origin to a largest extent of `size_mm` millimetres.
    """
    metres_per_unit = size_mm / 1000.0 / largest_extent(mesh)
    scene = trimesh.Scene()
    scene.add_geometry(_trimesh(mesh, metres_per_unit), geom_name="object", node_name="object")

    def finish(tree: dict[str, Any]) -> None:
        tree["asset"]["generator"] = "dreamfields"
        if "credit" in metadata:
            tree["asset"]["copyright"] = str(metadata["credit"])
        tree["scenes"][0]["extras"] = {**metadata, "metres_per_unit": metres_per_unit}
        if mesh.texture is None:
            tree["materials"] = [{"name": "matt", "pbrMetallicRoughness": MATT}]
            (primitive,) = tree["meshes"][0]["primitives"]
            primitive["material"] = 0
            primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop("_colour")

    content: bytes = export_glb(scene, include_normals=True, tree_postprocessor=finish)  # type: ignore[no-untyped-call]
    return content


def linear_from_srgb(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return linear light in [0, 1] of 8-bit sRGB values (IEC 61966-2-1), in any shape."""
    encoded = colours.astype(np.float64) / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


def _trimesh(mesh: Mesh, scale: float) -> trimesh.Trimesh:
    points, normals = scale * mesh.vertices.astype(np.float64), vertex_normals(mesh.vertices, mesh.faces)
    if mesh.texture is None:
        converted = trimesh.Trimesh(points, mesh.faces, vertex_normals=normals, process=False)
        converted.vertex_attributes["_colour"] = linear_from_srgb(mesh.colours)
        return converted
    image, atlas = Image.fromarray(mesh.texture.image), mesh.texture.atlas
    matt = PBRMaterial(name="matt", baseColorTexture=image, **MATT)  # type: ignore[no-untyped-call]
    visual = TextureVisuals(uv=atlas.uv, material=matt)  # type: ignore[no-untyped-call]
    points, normals = points[atlas.vertices], normals[atlas.vertices]
    return trimesh.Trimesh(points, atlas.faces, vertex_normals=normals, visual=visual, process=False)
