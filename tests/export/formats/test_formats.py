"""Files of an object: an independent reader gets what was written, colours, frame and facts included."""

import base64
import io
import json
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from dreamfields.errors import DegenerateError, DreamfieldsError, MissingPackageError, StorageError, UsageError
from dreamfields.export.asset import Asset
from dreamfields.export.formats.glb import glb_bytes, linear_from_srgb
from dreamfields.export.formats.stl import FACET
from dreamfields.export.formats.table import AR_MM, FORMATS, PRINT_MM, check_size, check_target, write_asset
from dreamfields.export.formats.threemf import CORE
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.pictures.stills import png_bytes
from dreamfields.export.settings import ExportSettings, Metadata
from tests.support.fields import Ball, BallsField, VolumeField

FACTS: Metadata = {"prompt": "une théière « bleue » 🫖\nsecond line", "seed": 7, "score": 0.25}

RIGHT, UP, FRONT = (
    Ball(0.2, (0.6, 0.0, 0.0), (0.9, 0.1, 0.1)),
    Ball(0.25, (0.0, 0.6, 0.0), (0.1, 0.9, 0.1)),
    Ball(0.3, (0.0, 0.0, 0.6), (0.1, 0.1, 0.9)),
)


MESHES = [".glb", ".obj", ".ply", ".stl", ".3mf"]
"""Formats that trimesh reads."""


def from_trimesh(file: Path) -> tuple[int, NDArray[np.float64]]:
    """Return the number of faces and the extents of a file that trimesh reads."""
    mesh = trimesh.load_scene(file).to_mesh()
    return len(mesh.faces), mesh.extents


def from_page(file: Path) -> tuple[int, NDArray[np.float64]]:
    (encoded,) = re.findall(r'src="data:model/gltf-binary;base64,([^"]+)"', file.read_text())
    embedded = file.with_suffix(".glb")
    embedded.write_bytes(base64.b64decode(encoded))
    return from_trimesh(embedded)


def from_volume(file: Path) -> tuple[int, NDArray[np.float64]]:
    """Return no faces, and the extents of the nodes that are dense."""
    with np.load(file, allow_pickle=False) as volume:
        dense = np.argwhere(volume["density"] > 0.5 * volume["density"].max())
    return 0, np.ptp(dense, axis=0)[::-1].astype(np.float64)


def from_usd(file: Path) -> tuple[int, NDArray[np.float64]]:
    from pxr import Usd, UsdGeom

    stage = Usd.Stage.Open(str(file))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/object/mesh"))
    return len(mesh.GetFaceVertexCountsAttr().Get()), np.ptp(np.array(mesh.GetPointsAttr().Get()), axis=0)


READERS = dict.fromkeys(MESHES, from_trimesh) | {".html": from_page, ".npz": from_volume, ".usdz": from_usd}
"""An independent reader for each format: a new format needs a line here."""

PRINTED = (".stl", ".3mf")
"""Formats with +Z up and the front towards -Y."""

UNITS_MM = {".glb": 1000.0, ".html": 1000.0, ".stl": 1.0, ".3mf": 1.0}
"""Millimetres in the unit of a format, as its standard or its readers have it; that of a USDZ is in the file."""


@cache
def asset() -> Asset:
    settings = ExportSettings(mesh_cells=32, max_faces=3000, texture_size=256, still_samples=32)
    return Asset(BallsField([RIGHT, UP, FRONT]), settings, FACTS)


@cache
def three_balls() -> Mesh:
    """Return the mesh without its texture."""
    return asset().untextured


def asset_of(mesh: Mesh, facts: Metadata = FACTS, size_mm: float | None = None) -> Asset:
    """Return an asset that has a given mesh, with no texture but the mesh's own."""
    made = Asset(asset().field, asset().settings, facts, size_mm=size_mm)
    made.__dict__.update(untextured=mesh, mesh=mesh)
    return made


@cache
def files(suffix: str) -> Mapping[str, bytes]:
    return FORMATS[suffix].files(asset(), "object")


def read(content: bytes, suffix: str) -> trimesh.Trimesh:
    shape = trimesh.load_scene(io.BytesIO(content), file_type=suffix.removeprefix("."))
    (only,) = shape.geometry.values()
    assert isinstance(only, trimesh.Trimesh)
    return only


def reread(suffix: str, folder: Path) -> trimesh.Trimesh:
    """Write a format's files to a folder and read the first one back."""
    for name, content in files(suffix).items():
        (folder / name).write_bytes(content)
    shape = trimesh.load_scene(folder / f"object{suffix}")
    (only,) = shape.geometry.values()
    assert isinstance(only, trimesh.Trimesh)
    return only


def tree_of(glb: bytes) -> dict[str, Any]:
    """Return the JSON chunk of a GLB, after checking the container's lengths against the standard."""
    magic, version, length, json_length, kind = struct.unpack("<4sIII4s", glb[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(glb), b"JSON")
    assert json_length % 4 == 0
    tree: dict[str, Any] = json.loads(glb[20 : 20 + json_length], parse_constant=pytest.fail)
    return tree


def srgb_from_linear(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 8-bit sRGB levels, written from the standard's other direction."""
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255.0 * encoded)


def test_a_glb_in_scene_units_holds_the_mesh_in_the_same_frame() -> None:
    mesh = three_balls()
    content = glb_bytes(mesh, FACTS, 200.0)
    shape, scale = read(content, ".glb"), tree_of(content)["scenes"][0]["extras"]["metres_per_unit"]
    assert np.allclose(shape.vertices / scale, mesh.vertices, atol=1e-6)
    assert np.array_equal(shape.faces, mesh.faces)
    assert shape.is_watertight
    assert shape.volume > 0.0


def test_a_glb_holds_each_colour_in_its_place_as_linear_light() -> None:
    mesh = three_balls()
    shape = read(glb_bytes(mesh, FACTS, 200.0), ".glb")
    assert isinstance(shape.visual, TextureVisuals)
    linear = np.asarray(shape.visual.vertex_attributes["color"])
    assert linear.dtype == np.float32
    assert np.array_equal(srgb_from_linear(linear.astype(np.float64)), mesh.colours)
    for ball in (RIGHT, UP, FRONT):
        near = np.linalg.norm(mesh.vertices - ball.centre, axis=1) < ball.radius + 0.1
        assert near.any()
        assert np.abs(srgb_from_linear(linear[near].astype(np.float64)) / 255.0 - ball.colour).max() < 0.01


def test_a_glb_is_matt_smooth_and_needs_no_decoder() -> None:
    tree = tree_of(glb_bytes(three_balls(), FACTS, 200.0))
    (primitive,) = tree["meshes"][0]["primitives"]
    material = tree["materials"][primitive["material"]]["pbrMetallicRoughness"]
    assert (material["metallicFactor"], material["roughnessFactor"]) == (0.0, 1.0)
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "COLOR_0"}
    colours = tree["accessors"][primitive["attributes"]["COLOR_0"]]
    assert (colours["componentType"], colours["type"]) == (5126, "VEC3")  # float
    assert "extensionsRequired" not in tree
    assert tree["asset"]["version"] == "2.0"


def test_the_normals_of_a_glb_are_unit_and_outward() -> None:
    shape = read(glb_bytes(three_balls(), FACTS, 200.0), ".glb")
    normals = shape.vertex_normals
    assert np.allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
    outward = three_balls().vertices - UP.centre
    of_ball = np.linalg.norm(outward, axis=1) < UP.radius + 0.05
    assert ((outward * normals).sum(axis=1)[of_ball] > 0.5 * UP.radius).all()


def test_facts_survive_in_a_glb() -> None:
    scene = trimesh.load_scene(io.BytesIO(glb_bytes(three_balls(), FACTS, 200.0)), file_type="glb")
    assert {key: scene.metadata[key] for key in FACTS} == FACTS


def test_a_textured_glb_has_the_image_and_the_same_shape_and_no_colours_that_would_darken_it() -> None:
    content = files(".glb")["object.glb"]
    tree = tree_of(content)
    (primitive,) = tree["meshes"][0]["primitives"]
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0"}
    material = tree["materials"][primitive["material"]]["pbrMetallicRoughness"]
    assert (material["metallicFactor"], material["roughnessFactor"]) == (0.0, 1.0)
    assert tree["images"][0]["mimeType"] == "image/png"
    scale = tree["scenes"][0]["extras"].pop("metres_per_unit")
    assert tree["scenes"][0]["extras"] == FACTS
    shape = read(content, ".glb")
    mesh = asset().mesh
    assert mesh.texture is not None
    assert np.allclose(shape.vertices[shape.faces] / scale, mesh.vertices[mesh.faces], atol=1e-6)
    assert isinstance(shape.visual, TextureVisuals)
    assert isinstance(shape.visual.material, PBRMaterial)
    assert np.array_equal(np.asarray(shape.visual.material.baseColorTexture.convert("RGB")), mesh.texture.image)
    assert np.allclose(shape.visual.uv, mesh.texture.atlas.uv, atol=1e-6)


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_a_texture_is_read_back_in_its_place(suffix: str, tmp_path: Path) -> None:
    shape = reread(suffix, tmp_path)
    assert isinstance(shape.visual, TextureVisuals)
    colours = shape.visual.to_color().vertex_colors[:, :3] / 255.0  # type: ignore[no-untyped-call]
    points = shape.vertices * (np.ptp(three_balls().vertices, axis=0).max() / shape.extents.max())
    for ball in (RIGHT, UP, FRONT):
        near = np.linalg.norm(points - ball.centre, axis=1) < ball.radius + 0.05
        assert near.sum() > 100
        assert np.median(np.abs(colours[near] - ball.colour), axis=0).max() < 0.02


WORDS = st.text(min_size=1, max_size=8)
TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32),
    np.zeros((4, 3), np.uint8),
)


@given(st.dictionaries(WORDS, st.text(max_size=12) | st.integers(-(2**53), 2**53), max_size=3))
def test_any_facts_make_valid_files(facts: dict[str, str | int]) -> None:
    extras = tree_of(glb_bytes(TETRAHEDRON, facts, 200.0))["scenes"][0]["extras"]
    assert extras == facts | {"metres_per_unit": 0.2}
    for suffix in MESHES:
        written = FORMATS[suffix].files(asset_of(TETRAHEDRON, facts), "object")
        assert read(written[f"object{suffix}"], suffix).volume > 0.0


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read_back_with_its_faces_and_its_proportions(suffix: str, tmp_path: Path) -> None:
    if suffix == ".usdz":
        pytest.importorskip("pxr", reason="usd-core is an extra; a test below covers its absence")
    write_asset(asset(), tmp_path / f"object{suffix}")
    faces, extents = READERS[suffix](tmp_path / f"object{suffix}")
    expected = np.ptp(three_balls().vertices, axis=0)[[0, 2, 1] if suffix in PRINTED else [0, 1, 2]]
    tolerance = 0.1 if suffix == ".npz" else 1e-5  # Nodes are a sixteenth of the extent apart.
    assert faces == (0 if suffix == ".npz" else len(three_balls().faces))
    assert np.allclose(extents / extents.max(), expected / expected.max(), atol=tolerance)


@pytest.mark.parametrize("suffix", MESHES)
def test_every_format_is_read_back_closed_outward_and_of_the_same_shape(suffix: str, tmp_path: Path) -> None:
    shape = reread(suffix, tmp_path)
    shape.merge_vertices(merge_tex=True, merge_norm=True)
    assert shape.is_watertight
    assert shape.body_count == 3
    whole = trimesh.Trimesh(three_balls().vertices, three_balls().faces)
    unit_mm = UNITS_MM.get(suffix)
    scale = 1.0 if unit_mm is None else FORMATS[suffix].size_mm / unit_mm / whole.extents.max()
    assert shape.volume == pytest.approx(whole.volume * scale**3, rel=1e-4)
    assert np.allclose(np.sort(shape.extents), np.sort(whole.extents) * scale, rtol=1e-5)


@pytest.mark.parametrize("suffix", sorted(FORMATS.keys() - {".usdz"}))
def test_the_same_asset_is_the_same_bytes(suffix: str) -> None:
    assert FORMATS[suffix].files(asset(), "object") == files(suffix)


@pytest.mark.parametrize("size_mm", [None, 40.0])
@pytest.mark.parametrize("suffix", [suffix for suffix, known in FORMATS.items() if known.size_mm])
def test_an_object_has_the_size_that_is_asked_for_or_its_format_s_own(
    suffix: str, size_mm: float | None, tmp_path: Path
) -> None:
    file = tmp_path / f"object{suffix}"
    if suffix == ".usdz":
        usd = pytest.importorskip("pxr.Usd", reason="usd-core is an extra")
        from pxr import UsdGeom

    write_asset(asset_of(three_balls(), size_mm=size_mm), file)
    unit_mm = UNITS_MM.get(suffix) or 1000.0 * UsdGeom.GetStageMetersPerUnit(usd.Stage.Open(str(file)))
    _, extents = READERS[suffix](file)
    own = PRINT_MM if suffix in PRINTED else AR_MM
    assert FORMATS[suffix].size_mm == own
    assert extents.max() * unit_mm == pytest.approx(size_mm or own, rel=1e-5)


@pytest.mark.parametrize("suffix", [suffix for suffix, known in FORMATS.items() if not known.size_mm])
def test_a_size_has_no_meaning_without_a_unit(suffix: str, tmp_path: Path) -> None:
    sized = [ending for ending, known in FORMATS.items() if known.size_mm]
    with pytest.raises(UsageError, match=rf"\{suffix} has no unit of length; leave --size-mm out") as raised:
        check_size(tmp_path / f"object{suffix}", 100.0)
    assert re.findall(r"\.[0-9a-z]+", str(raised.value)) == [suffix, *sized]
    check_size(tmp_path / f"object{suffix}", None)
    check_size(tmp_path / f"object{sized[0]}", 100.0)


@pytest.mark.parametrize("size_mm", [0.0, -1.0, float("nan"), 1e6])
def test_a_size_out_of_range_is_refused(size_mm: float) -> None:
    with pytest.raises(UsageError, match=r"size_mm is .*; it must be from 0\.1 to 100,000"):
        asset_of(three_balls(), size_mm=size_mm)


@pytest.mark.parametrize("suffix", PRINTED)
def test_a_print_stands_on_the_bed(suffix: str) -> None:
    shape = read(FORMATS[suffix].files(asset_of(three_balls(), size_mm=40.0), "object")[f"object{suffix}"], suffix)
    assert shape.extents.max() == pytest.approx(40.0, rel=1e-5)
    assert shape.bounds[0, 2] == pytest.approx(0.0, abs=1e-4)


def test_a_3mf_says_its_unit_and_its_facts() -> None:
    with zipfile.ZipFile(io.BytesIO(files(".3mf")["object.3mf"])) as archive:
        assert archive.testzip() is None
        root = ElementTree.fromstring(archive.read("3D/3dmodel.model"))
    assert root.attrib["unit"] == "millimeter"
    facts = {entry.attrib["name"]: entry.text for entry in root.iter(f"{{{CORE}}}metadata")}
    assert facts["Title"] == facts["d:prompt"] == str(FACTS["prompt"]).replace("\n", "\ufffd")
    assert facts["d:seed"] == "7"


def test_a_credit_is_where_readers_of_a_format_look_for_it() -> None:
    facts = {**FACTS, "credit": "began as 'box' by A. Maker, CC BY 4.0"}
    credited = Asset(asset().field, asset().settings, facts)
    assert tree_of(FORMATS[".glb"].files(credited, "object")["object.glb"])["asset"]["copyright"] == facts["credit"]
    with zipfile.ZipFile(io.BytesIO(FORMATS[".3mf"].files(credited, "object")["object.3mf"])) as archive:
        root = ElementTree.fromstring(archive.read("3D/3dmodel.model"))
    named = {entry.attrib["name"]: entry.text for entry in root.iter(f"{{{CORE}}}metadata")}
    assert named["Copyright"] == facts["credit"]


def test_an_obj_names_its_material_and_that_its_texture(tmp_path: Path) -> None:
    made = files(".obj")
    assert list(made) == [f"object{ending}" for ending in (".obj", *FORMATS[".obj"].companions)]
    assert b"\nmtllib object.mtl\n" in made["object.obj"]
    assert b"\nmap_Kd object.png\n" in made["object.mtl"]
    assert b"# seed: 7\n" in made["object.obj"]
    plain = FORMATS[".obj"].files(asset_of(three_balls()), "object")
    assert list(plain) == ["object.obj"]
    shape = read(plain["object.obj"], ".obj")
    assert isinstance(shape.visual, ColorVisuals)
    assert np.array_equal(shape.visual.vertex_colors[:, :3], three_balls().colours)
    assert np.array_equal(shape.vertices.astype(np.float32), three_balls().vertices)


@pytest.mark.parametrize("name", ["thé", "my cup", "a#b", "# c", "日本  の 急須", "-s"])
def test_an_obj_of_any_name_is_read_back_with_its_texture(name: str, tmp_path: Path) -> None:
    write_asset(asset(), tmp_path / f"{name}.obj")
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.obj", f"{name}.mtl", f"{name}.png"}
    assert f"mtllib {name}.mtl" in (tmp_path / f"{name}.obj").read_text("utf-8").splitlines()
    assert f"map_Kd {name}.png" in (tmp_path / f"{name}.mtl").read_text("utf-8").splitlines()
    (shape,) = trimesh.load_scene(tmp_path / f"{name}.obj").geometry.values()
    assert isinstance(shape, trimesh.Trimesh)
    assert isinstance(shape.visual, TextureVisuals)
    texture = asset().mesh.texture
    assert texture is not None
    assert np.array_equal(np.asarray(shape.visual.material.image), texture.image)


def test_an_obj_keeps_the_bytes_of_a_name_that_is_not_utf_8() -> None:
    assert b"\nmtllib \xff.mtl\n" in FORMATS[".obj"].files(asset(), "\udcff")["\udcff.obj"]


def test_a_usdz_opens_with_its_shape_its_texture_and_its_facts(tmp_path: Path) -> None:
    usd = pytest.importorskip("pxr.Usd", reason="usd-core is an extra")
    from pxr import UsdGeom, UsdShade

    file = tmp_path / "object.usdz"
    file.write_bytes(files(".usdz")["object.usdz"])
    with zipfile.ZipFile(file) as package:
        assert {info.compress_type for info in package.infolist()} == {zipfile.ZIP_STORED}
        assert [Path(name).suffix for name in package.namelist()] == [".usdc", ".png"]
    stage = usd.Stage.Open(str(file))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == pytest.approx(0.2)
    assert stage.GetRootLayer().customLayerData["prompt"] == FACTS["prompt"]
    shape = UsdGeom.Mesh(stage.GetPrimAtPath("/object/mesh"))
    points = np.array(shape.GetPointsAttr().Get())
    faces = np.array(shape.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    assert np.array_equal(faces, three_balls().faces)
    low, high = three_balls().vertices.min(axis=0), three_balls().vertices.max(axis=0)
    assert np.allclose(points - points.min(axis=0), (three_balls().vertices - low) / (high - low).max(), atol=1e-5)
    assert points[:, 1].min() == pytest.approx(0.0, abs=1e-6)
    material, _ = UsdShade.MaterialBindingAPI(shape.GetPrim()).ComputeBoundMaterial()
    assert material.GetPrim().IsValid()
    texture = UsdShade.Shader(stage.GetPrimAtPath("/object/matt/texture")).GetInput("file").Get()
    assert texture.resolvedPath


def test_without_its_package_usdz_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(MissingPackageError, match="pip install usd-core"):
        FORMATS[".usdz"].files(asset(), "object")


@pytest.mark.parametrize(
    ("name", "error"),
    [("object.usdz", MissingPackageError), ("object.fbx", UsageError), ("object", UsageError), ("a.obj", UsageError)],
)
def test_what_cannot_be_written_is_refused_before_the_mesh_is_made(
    name: str, error: type[DreamfieldsError], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    (tmp_path / "a.png").write_bytes(b"somebody's")
    untouched = Asset(asset().field, asset().settings, FACTS)
    with pytest.raises(error):
        write_asset(untouched, tmp_path / name)
    assert "untextured" not in untouched.__dict__
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_raw_field_is_what_the_field_says(tmp_path: Path) -> None:
    field, cells = BallsField([UP], edge=0.2), 12
    write_asset(Asset(field, ExportSettings(mesh_cells=cells), FACTS), tmp_path / "field.npz")
    with np.load(tmp_path / "field.npz", allow_pickle=False) as again:
        assert set(again.files) == {"density", "colour", "facts"}
        assert np.array_equal(again["density"], field.density_volume(cells).numpy())
        assert again["colour"].shape == (13, 13, 13, 3)
        assert np.allclose(again["colour"], UP.colour)
        assert json.loads(str(again["facts"])) == FACTS
    broken = Asset(VolumeField(torch.full((3, 3, 3), torch.nan)), ExportSettings(mesh_cells=4), {})
    with pytest.raises(DegenerateError, match="not finite"):
        FORMATS[".npz"].files(broken, "field")


def test_an_unknown_ending_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mesh format called '\.obi'; did you mean '\.obj'"):
        write_asset(asset(), tmp_path / "object.obi")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", sorted(FORMATS.keys() - {".usdz"}))
def test_an_ending_in_capitals_is_the_same_format_and_the_name_stays(suffix: str, tmp_path: Path) -> None:
    write_asset(asset(), tmp_path / f"Object{suffix.upper()}")
    expected = {f"Object{suffix.upper()}", *(f"Object{ending}" for ending in FORMATS[suffix].companions)}
    assert {path.name for path in tmp_path.iterdir()} == expected
    (_, content), *_ = FORMATS[suffix].files(asset(), "Object").items()
    assert (tmp_path / f"Object{suffix.upper()}").read_bytes() == content


def foreign_files(folder: Path) -> list[Path]:
    """Make files that dreamfields did not write, or not as a part of an OBJ, under the names of companions."""
    rendered = png_bytes(Image.new("RGB", (4, 4)), {"generator": "dreamfields 0", "prompt": "a cup"})
    contents = {"a.mtl": b"newmtl mine", "b.png": b"mine", "c.png": rendered, "d.png": b""}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "e.png").symlink_to(folder / "nowhere")
    return [folder / name for name in (*contents, "e.png")]


def test_a_file_that_nobody_named_is_replaced_only_where_dreamfields_wrote_it(tmp_path: Path) -> None:
    for there in foreign_files(tmp_path):
        before = there.read_bytes() if there.is_file() else None
        with pytest.raises(UsageError, match=rf"{there.name} would be replaced .* add --force"):
            write_asset(asset(), there.with_suffix(".obj"))
        assert (there.read_bytes() if there.is_file() else None) == before
        assert not there.with_suffix(".obj").exists()
        check_target(there.with_suffix(".stl"))
        check_target(there.with_suffix(".obj"), force=True)


def test_a_place_that_cannot_be_looked_at_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "cup.obj", tmp_path / f"{'x' * 251}.obj", tmp_path / f"{'x' * 300}.obj"):
        with pytest.raises(StorageError):
            write_asset(asset(), path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_nobody_named_is_replaced_by_force_and_then_again(tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(b"mine")
    (tmp_path / "cup.mtl").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"cup\.mtl and .*cup\.png would be replaced and are"):
        write_asset(asset(), tmp_path / "cup.obj")
    write_asset(asset(), tmp_path / "cup.obj", force=True)
    again = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(again) == 3
    write_asset(asset(), tmp_path / "cup.obj")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == again


@pytest.mark.parametrize("suffix", sorted(FORMATS.keys() - {".npz"}))
@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        (VolumeField(torch.zeros(5, 5, 5)), "nothing in the scene is half opaque"),
        (VolumeField(torch.full((5, 5, 5), 0.3)), "nothing in the scene is half opaque"),
        (VolumeField(torch.full((5, 5, 5), 30.0)), "denser everywhere"),
    ],
    ids=["empty", "foggy", "full"],
)
def test_a_field_without_a_surface_is_a_sentence_and_no_file(
    suffix: str, field: VolumeField, sentence: str, tmp_path: Path
) -> None:
    if suffix == ".usdz":
        pytest.importorskip("pxr", reason="usd-core is an extra")
    with pytest.raises(DegenerateError, match=sentence):
        write_asset(Asset(field, ExportSettings(mesh_cells=8), FACTS), tmp_path / f"object{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", MESHES)
def test_a_field_that_the_cube_cuts_is_closed(suffix: str, tmp_path: Path) -> None:
    cut = Asset(
        BallsField([Ball(0.5, (1.0, 0.2, 0.0))]), ExportSettings(mesh_cells=16, texture_size=128, still_samples=16), {}
    )
    write_asset(cut, tmp_path / f"object{suffix}")
    shape = trimesh.load_scene(tmp_path / f"object{suffix}").to_mesh()
    shape.merge_vertices(merge_tex=True, merge_norm=True)
    assert shape.is_watertight
    assert shape.volume > 0.0


def test_a_ply_holds_the_mesh_its_colours_and_the_facts() -> None:
    mesh = three_balls()
    content = files(".ply")["object.ply"]
    shape = read(content, ".ply")
    assert np.array_equal(shape.vertices.astype(np.float32), mesh.vertices)
    assert np.array_equal(shape.faces, mesh.faces)
    assert isinstance(shape.visual, ColorVisuals)
    assert np.array_equal(shape.visual.vertex_colors[:, :3], mesh.colours)
    header = content[: content.index(b"end_header")].decode("ascii")
    assert "comment seed: 7\n" in header
    assert "\nsecond line" not in header


def test_an_stl_has_a_header_that_ends_and_the_normals_of_its_own_corners() -> None:
    thin = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.3, 1e-6, 0.1234567], [0.2, 0.9, 0.1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
    mesh = Mesh(thin, faces, np.zeros((4, 3), np.uint8))
    content = FORMATS[".stl"].files(asset_of(mesh, {"prompt": "x" * 100}), "object")["object.stl"]
    assert content[78:80] == b"x\0"
    facets = np.frombuffer(content[84:], FACET)
    a, b, c = facets["corners"].astype(np.float64).swapaxes(0, 1)
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert np.allclose(facets["normal"], normals, atol=1e-6)


def test_an_stl_stands_on_the_bed_in_millimetres_with_z_up() -> None:
    content = files(".stl")["object.stl"]
    shape = read(content, ".stl")
    low, high = shape.bounds
    assert (high - low).max() == pytest.approx(PRINT_MM)
    assert low[2] == pytest.approx(0.0, abs=1e-4)
    assert np.allclose((low + high)[:2], 0.0, atol=1e-4)
    # Right stays right, up becomes +Z, and the front faces the front of the bed, -Y.
    bodies = sorted(shape.split(), key=lambda body: body.volume)
    right, up, front = (body.center_mass for body in bodies)
    assert right[0] > max(up[0], front[0]) + 10.0
    assert up[2] > max(right[2], front[2]) + 10.0
    assert front[1] < min(right[1], up[1]) - 10.0
    assert content.startswith(b"dreamfields, prompt: une th")


def test_linear_light_keeps_the_ends_and_all_levels_apart() -> None:
    linear = linear_from_srgb(np.arange(256, dtype=np.uint8))
    assert linear[0] == 0.0
    assert linear[255] == 1.0
    assert (np.diff(linear) > 0.0).all()
    assert linear[188] == pytest.approx(0.503, abs=1e-3)
