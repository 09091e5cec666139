"""USDZ: the textured mesh for Apple's AR Quick Look, +Y up, its size in metres; an extra, as its library is large."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamfields.errors import MissingPackageError
from dreamfields.export.asset import Asset
from dreamfields.export.formats.packages import NO_USD
from dreamfields.export.mesh.mesh import Mesh, stood_on_ground, vertex_normals
from dreamfields.export.pictures.stills import png_bytes
from dreamfields.storage import atomic_write


def write(asset: Asset, name: str, size_mm: float) -> dict[str, bytes]:
    """Return the textured mesh as USDZ, facts as its custom data. Raises MissingPackageError: no `usd-core`."""
    try:
        from pxr import Sdf, Usd, UsdUtils
    except ImportError as error:
        raise MissingPackageError(NO_USD) from error
    mesh = asset.mesh
    with tempfile.TemporaryDirectory() as folder:
        layer, package = Path(folder) / "object.usdc", Path(folder) / "object.usdz"
        stage = Usd.Stage.CreateNew(str(layer))
        _add_mesh(stage, mesh, size_mm)
        if mesh.texture is not None:
            atomic_write(Path(folder) / "texture.png", png_bytes(Image.fromarray(mesh.texture.image), {}))
            _add_material(stage)
        # USD keeps whole numbers of 64 bits at most, and text without a zero byte.
        stage.GetRootLayer().customLayerData = {key: str(value) for key, value in asset.facts.items()}
        stage.GetRootLayer().Save()
        if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(package)):
            raise RuntimeError("usd-core wrote no package")
        return {f"{name}.usdz": package.read_bytes()}


def _add_mesh(stage: Any, mesh: Mesh, size_mm: float) -> None:
    """Add the geometry, with texture coordinates or vertex colours, which AR Quick Look does not show."""
    from pxr import Sdf, Usd, UsdGeom, Vt

    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, size_mm / 1000.0)
    root = UsdGeom.Xform.Define(stage, "/object").GetPrim()
    stage.SetDefaultPrim(root)
    Usd.ModelAPI(root).SetKind("component")
    points = stood_on_ground(mesh)
    shape = UsdGeom.Mesh.Define(stage, "/object/mesh")
    shape.CreatePointsAttr(_vectors(points))
    shape.CreateExtentAttr(_vectors(np.stack([points.min(axis=0), points.max(axis=0)])))
    shape.CreateFaceVertexCountsAttr([3] * len(mesh.faces))
    shape.CreateFaceVertexIndicesAttr(mesh.faces.reshape(-1).tolist())
    shape.CreateSubdivisionSchemeAttr("none")
    shape.CreateNormalsAttr(_vectors(vertex_normals(mesh.vertices, mesh.faces)))
    shape.SetNormalsInterpolation("vertex")
    primvars = UsdGeom.PrimvarsAPI(shape)
    if mesh.texture is None:
        colours = primvars.CreatePrimvar("displayColor", Sdf.ValueTypeNames.Color3fArray, UsdGeom.Tokens.vertex)
        colours.Set(_vectors(mesh.colours / 255.0))
    else:
        uv = primvars.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        atlas = mesh.texture.atlas
        uv.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(atlas.uv[atlas.faces.reshape(-1)])))


def _add_material(stage: Any) -> None:
    """Add a matt material with the file texture.png as its colour, and bind the mesh to it."""
    from pxr import Sdf, UsdShade

    types = Sdf.ValueTypeNames

    def shader(name: str, kind: str, **inputs: tuple[Any, Any]) -> Any:
        made = UsdShade.Shader.Define(stage, f"/object/matt/{name}")
        made.CreateIdAttr(kind)
        for key, (type_, value) in inputs.items():
            made.CreateInput(key, type_).Set(value)
        return made

    material = UsdShade.Material.Define(stage, "/object/matt")
    reader = shader("uv", "UsdPrimvarReader_float2", varname=(types.String, "st"))
    file = (types.Asset, Sdf.AssetPath("texture.png"))
    texture = shader("texture", "UsdUVTexture", file=file, sourceColorSpace=(types.Token, "sRGB"))
    texture.CreateInput("st", types.Float2).ConnectToSource(reader.CreateOutput("result", types.Float2))
    surface = shader("surface", "UsdPreviewSurface", roughness=(types.Float, 1.0), metallic=(types.Float, 0.0))
    surface.CreateInput("diffuseColor", types.Color3f).ConnectToSource(texture.CreateOutput("rgb", types.Float3))
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(stage.GetPrimAtPath("/object/mesh")).Bind(material)


def _vectors(values: Any) -> Any:
    from pxr import Vt

    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, np.float32))
