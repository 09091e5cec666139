"""Files of meshes: what is written is what an independent reader gets, colours, frame and facts included."""

import io
import json
import struct
from functools import cache
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from trimesh.visual import ColorVisuals, TextureVisuals

from dreamfields.export.formats import WRITERS
from dreamfields.export.glb import glb_bytes, linear_from_srgb
from dreamfields.export.mesh import Mesh, extract_mesh
from dreamfields.export.ply import ply_bytes
from dreamfields.export.settings import ExportSettings, Metadata
from dreamfields.export.stl import PRINT_MM, stl_bytes
from tests.fields import Ball, BallsField

FACTS: Metadata = {"prompt": "une théière « bleue » 🫖\nsecond line", "seed": 7, "score": 0.25}

RIGHT, UP, FRONT = (
    Ball(0.2, (0.6, 0.0, 0.0), (0.9, 0.1, 0.1)),
    Ball(0.25, (0.0, 0.6, 0.0), (0.1, 0.9, 0.1)),
    Ball(0.3, (0.0, 0.0, 0.6), (0.1, 0.1, 0.9)),
)


@cache
def three_balls() -> Mesh:
    return extract_mesh(BallsField([RIGHT, UP, FRONT]), ExportSettings(mesh_cells=32))


def read(content: bytes, suffix: str) -> trimesh.Trimesh:
    shape = trimesh.load_scene(io.BytesIO(content), file_type=suffix.removeprefix("."))
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


def test_a_glb_holds_the_mesh_in_the_same_frame() -> None:
    mesh = three_balls()
    shape = read(glb_bytes(mesh, FACTS), ".glb")
    assert np.array_equal(shape.vertices.astype(np.float32), mesh.vertices)
    assert np.array_equal(shape.faces, mesh.faces)
    assert shape.is_watertight
    assert shape.volume > 0.0


def test_a_glb_holds_each_colour_in_its_place_as_linear_light() -> None:
    mesh = three_balls()
    shape = read(glb_bytes(mesh, FACTS), ".glb")
    assert isinstance(shape.visual, TextureVisuals)
    linear = np.asarray(shape.visual.vertex_attributes["color"])
    assert linear.dtype == np.float32
    assert np.array_equal(srgb_from_linear(linear.astype(np.float64)), mesh.colours)
    for ball in (RIGHT, UP, FRONT):
        near = np.linalg.norm(shape.vertices - ball.centre, axis=1) < ball.radius + 0.1
        assert near.any()
        assert np.abs(srgb_from_linear(linear[near].astype(np.float64)) / 255.0 - ball.colour).max() < 0.01


def test_a_glb_is_matt_smooth_and_needs_no_decoder() -> None:
    tree = tree_of(glb_bytes(three_balls(), FACTS))
    (primitive,) = tree["meshes"][0]["primitives"]
    material = tree["materials"][primitive["material"]]["pbrMetallicRoughness"]
    assert (material["metallicFactor"], material["roughnessFactor"]) == (0.0, 1.0)
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "COLOR_0"}
    colours = tree["accessors"][primitive["attributes"]["COLOR_0"]]
    assert (colours["componentType"], colours["type"]) == (5126, "VEC3")  # float
    assert "extensionsRequired" not in tree
    assert tree["asset"]["version"] == "2.0"


def test_the_normals_of_a_glb_are_unit_and_outward() -> None:
    shape = read(glb_bytes(three_balls(), FACTS), ".glb")
    normals = shape.vertex_normals
    assert np.allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
    outward = shape.vertices - UP.centre
    of_ball = np.linalg.norm(outward, axis=1) < UP.radius + 0.05
    assert ((outward * normals).sum(axis=1)[of_ball] > 0.5 * UP.radius).all()


def test_facts_survive_in_a_glb() -> None:
    scene = trimesh.load_scene(io.BytesIO(glb_bytes(three_balls(), FACTS)), file_type="glb")
    assert {key: scene.metadata[key] for key in FACTS} == FACTS


WORDS = st.text(min_size=1, max_size=8)


@given(st.dictionaries(WORDS, st.text(max_size=12) | st.integers(-(2**53), 2**53), max_size=3))
def test_any_facts_make_valid_files(facts: dict[str, str | int]) -> None:
    tetrahedron = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
        np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32),
        np.zeros((4, 3), np.uint8),
    )
    assert tree_of(glb_bytes(tetrahedron, facts))["scenes"][0].get("extras", {}) == facts
    for suffix, write in WRITERS.items():
        assert read(write(tetrahedron, facts), suffix).volume > 0.0


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_is_read_back_closed_and_outward(suffix: str) -> None:
    content = WRITERS[suffix](three_balls(), FACTS)
    shape = read(content, suffix)
    shape.merge_vertices()
    assert shape.is_watertight
    assert shape.volume > 0.0
    assert shape.body_count == 3
    assert WRITERS[suffix](three_balls(), FACTS) == content


def test_a_ply_holds_the_mesh_its_colours_and_the_facts() -> None:
    mesh = three_balls()
    content = ply_bytes(mesh, FACTS)
    shape = read(content, ".ply")
    assert np.array_equal(shape.vertices.astype(np.float32), mesh.vertices)
    assert np.array_equal(shape.faces, mesh.faces)
    assert isinstance(shape.visual, ColorVisuals)
    assert np.array_equal(shape.visual.vertex_colors[:, :3], mesh.colours)
    header = content[: content.index(b"end_header")].decode("ascii")
    assert "comment seed: 7\n" in header
    assert "\nsecond line" not in header


def test_an_stl_stands_on_the_bed_in_millimetres_with_z_up() -> None:
    mesh = three_balls()
    content = stl_bytes(mesh, FACTS)
    shape = read(content, ".stl")
    low, high = shape.bounds
    assert (high - low).max() == pytest.approx(PRINT_MM)
    assert low[2] == pytest.approx(0.0, abs=1e-4)
    assert np.allclose((low + high)[:2], 0.0, atol=1e-4)
    # What was to the right stays right, what was up is up, and the front faces the front of the bed, -Y.
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
