"""USDZ: the textured mesh for Apple's AR Quick Look; an extra, as its library is large.

USD has +Y up where the stage says so, and lengths in a unit that the stage names: here the object's largest extent, so
that what is put on a table has the size asked for.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamfields.errors import MissingPackageError
from dreamfields.export.asset import Asset
from dreamfields.export.mesh.mesh import Mesh, vertex_normals
from dreamfields.export.pictures.stills import png_bytes
from dreamfields.export.settings import Metadata
from dreamfields.storage import atomic_write


def write(asset: Asset, name: str) -> dict[str, bytes]:
    """Return the textured mesh as one USDZ file."""
    return {f"{name}.usdz": usdz_bytes(asset.mesh, asset.facts, asset.size_mm)}


def usdz_bytes(mesh: Mesh, metadata: Metadata, size_mm: float) -> bytes:
    """Return a mesh as a USDZ package; metadata become custom data of its layer.

    Raises:
        MissingPackageError: `usd-core` is not installed.
    """
    try:
        from pxr import Sdf, Usd, UsdUtils
    except ImportError as error:
        raise MissingPackageError(
            "USDZ needs the package usd-core; run: pip install usd-core, or export to .glb"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        layer, package = Path(folder) / "object.usdc", Path(folder) / "object.usdz"
        stage = Usd.Stage.CreateNew(str(layer))
        if mesh.texture is not None:
            atomic_write(Path(folder) / "texture.png", png_bytes(Image.fromarray(mesh.texture.image), {}))
        _build(stage, mesh, size_mm)
        # USD keeps whole numbers of 64 bits at most, and text without a zero byte.
        stage.GetRootLayer().customLayerData = {key: str(value) for key, value in metadata.items()}
        stage.GetRootLayer().Save()
        if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(package)):
            raise RuntimeError("usd-core wrote no package")
        return package.read_bytes()


def _build(stage: Any, mesh: Mesh, size_mm: float) -> None:
    from pxr import Usd, UsdGeom

    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    # The object's largest extent is 1 unit long, and a unit has the length asked for.
    UsdGeom.SetStageMetersPerUnit(stage, size_mm / 1000.0)
    root = UsdGeom.Xform.Define(stage, "/object")
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root.GetPrim()).SetKind("component")
    shape = UsdGeom.Mesh.Define(stage, "/object/mesh")
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    # It stands on the ground, where AR puts it.
    foot = np.array([0.5 * (low[0] + high[0]), low[1], 0.5 * (low[2] + high[2])])
    places = ((mesh.vertices - foot) / (high - low).max()).astype(np.float32)
    shape.CreatePointsAttr(_vectors(places))
    shape.CreateExtentAttr(_vectors(np.stack([places.min(axis=0), places.max(axis=0)])))
    shape.CreateFaceVertexCountsAttr([3] * len(mesh.faces))
    shape.CreateFaceVertexIndicesAttr(mesh.faces.reshape(-1).tolist())
    shape.CreateSubdivisionSchemeAttr("none")
    shape.CreateNormalsAttr(_vectors(vertex_normals(mesh.vertices, mesh.faces)))
    shape.SetNormalsInterpolation("vertex")
    _paint(stage, shape, mesh)


def _paint(stage: Any, shape: Any, mesh: Mesh) -> None:
    """Give the shape its texture, or where there is none, its vertex colours, which AR Quick Look does not show."""
    from pxr import Sdf, UsdGeom, UsdShade, Vt

    values = UsdGeom.PrimvarsAPI(shape)
    if mesh.texture is None:
        colours = values.CreatePrimvar("displayColor", Sdf.ValueTypeNames.Color3fArray, UsdGeom.Tokens.vertex)
        colours.Set(_vectors(mesh.colours / 255.0))
        return
    uv = values.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
    uv.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(mesh.texture.uv[mesh.texture.faces.reshape(-1)])))
    material = UsdShade.Material.Define(stage, "/object/matt")
    shader = UsdShade.Shader.Define(stage, "/object/matt/surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(1.0)
    shader.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    reader = UsdShade.Shader.Define(stage, "/object/matt/uv")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    texture = UsdShade.Shader.Define(stage, "/object/matt/texture")
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath("texture.png"))
    texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(
        reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    )
    shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(
        texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
    )
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(material)


def _vectors(values: Any) -> Any:
    from pxr import Vt

    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, np.float32))
