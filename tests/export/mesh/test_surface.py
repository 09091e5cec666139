"""Meshes: the right shape in the right place, closed, outward, clean, within the budget, in the colours one sees."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.errors import DegenerateError
from dreamfields.export.mesh.colours import surface_colours
from dreamfields.export.mesh.mesh import Floats, Integers, Mesh, signed_volumes, vertex_normals
from dreamfields.export.mesh.surface import (
    drop_folded,
    extract_mesh,
    is_edge_manifold,
    isosurface,
    simplify,
    split_nonmanifold,
    surface_level,
)
from dreamfields.export.settings import ExportSettings
from tests.support.fields import Ball, BallsField, VolumeField, sphere

SMALL = ExportSettings(mesh_cells=48)


def reread(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def ball_volume(radius: float) -> float:
    return 4.0 / 3.0 * math.pi * radius**3


def is_closed(faces: Integers) -> bool:
    """Tell whether each directed edge is met by as many the other way."""
    edges = Counter(map(tuple, faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).tolist()))
    return all(edges[b, a] == count for (a, b), count in edges.items())


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (0.2, -0.3, 0.25)])
@pytest.mark.parametrize("radius", [0.3, 0.6])
def test_a_ball_becomes_a_closed_outward_ball_in_its_place(radius: float, centre: tuple[float, float, float]) -> None:
    mesh = extract_mesh(BallsField([Ball(radius, centre)]), ExportSettings())
    shape = reread(mesh)
    assert shape.is_watertight
    assert shape.volume == pytest.approx(ball_volume(radius), rel=0.03)
    assert np.allclose(shape.center_mass, centre, atol=0.005)
    assert mesh.vertices.dtype == np.float32
    assert mesh.faces.dtype == np.int32
    assert mesh.colours.dtype == np.uint8
    assert len(mesh.colours) == len(mesh.vertices)


@pytest.mark.parametrize("level", [10.0, 30.0, 50.0])
def test_the_surface_lies_where_the_density_is_the_level(level: float) -> None:
    field = sphere(0.5, edge=0.4)
    mesh = extract_mesh(field, ExportSettings(mesh_cells=48, level=level))
    density = field.density(torch.as_tensor(mesh.vertices))
    slope = 60.0 / 0.4
    assert np.allclose(density, level, atol=0.25 * slope * 2.0 / 48)


def test_nothing_is_mirrored_and_up_is_up() -> None:
    red, green, blue = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9)
    balls = [Ball(0.2, (0.6, 0.0, 0.0), red), Ball(0.25, (0.0, 0.6, 0.0), green), Ball(0.3, (0.0, 0.0, 0.6), blue)]
    mesh = extract_mesh(BallsField(balls), SMALL)
    for ball in balls:
        near = np.linalg.norm(mesh.vertices - ball.centre, axis=1) < ball.radius + 0.05
        assert near.sum() > 50
        assert np.abs(mesh.colours[near] / 255.0 - ball.colour).max() < 0.01
    assert reread(mesh).body_count == 3


def test_what_the_cube_cuts_is_closed_on_its_face() -> None:
    shape = reread(extract_mesh(BallsField([Ball(0.5, (1.0, 0.0, 0.0))]), SMALL))
    assert shape.is_watertight
    assert shape.volume == pytest.approx(0.5 * ball_volume(0.5), rel=0.03)
    assert np.abs(shape.vertices).max() == pytest.approx(1.0, abs=0.01 * 2.0 / 48)


def test_a_single_dense_node_is_a_closed_speck() -> None:
    volume = torch.zeros(17, 17, 17)
    volume[3, 8, 12] = 1000.0
    mesh = extract_mesh(VolumeField(volume), ExportSettings(mesh_cells=16))
    shape = reread(mesh)
    assert shape.is_watertight
    assert shape.volume > 0.0
    assert np.allclose(shape.center_mass, [12 / 8 - 1, 8 / 8 - 1, 3 / 8 - 1], atol=1e-3)


@pytest.mark.parametrize(
    ("field", "level", "sentence"),
    [
        (sphere(0.5), 200.0, "no surface at density 200; the densest point is 60"),
        (VolumeField(torch.zeros(5, 5, 5)), None, "nothing in the scene is half opaque and the densest point is 0"),
        (VolumeField(torch.zeros(5, 5, 5)), 1.0, "no surface at density 1; the densest point is 0"),
        (VolumeField(torch.full((5, 5, 5), 0.3)), None, "nothing in the scene is half opaque"),
        (VolumeField(torch.full((5, 5, 5), 30.0)), None, "denser everywhere, at least 30"),
        (VolumeField(torch.full((5, 5, 5), 30.0)), 7.0, "no surface at density 7; the scene is denser everywhere"),
        (VolumeField(torch.full((5, 5, 5), torch.nan)), None, "densities that are not finite"),
        (VolumeField(torch.full((5, 5, 5), torch.inf)), 1.0, "densities that are not finite"),
    ],
)
def test_a_field_without_a_surface_says_so(field: BallsField | VolumeField, level: float | None, sentence: str) -> None:
    with pytest.raises(DegenerateError, match=sentence):
        extract_mesh(field, ExportSettings(mesh_cells=8, level=level))


def test_colours_that_are_not_finite_are_refused() -> None:
    volume = torch.zeros(9, 9, 9)
    volume[3:6, 3:6, 3:6] = 100.0
    with pytest.raises(DegenerateError, match="colours that are not finite"):
        extract_mesh(VolumeField(volume, grey=math.nan), ExportSettings(mesh_cells=8))


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0 + 1e-9, 5.0, 1e30]), min_size=27, max_size=27))
def test_every_surface_is_closed_and_encloses_what_is_dense(values: list[float]) -> None:
    volume = np.array(values).reshape(3, 3, 3)
    assume(0 < (volume > 1.0).sum() < 27)
    vertices, faces = isosurface(volume, 1.0)
    assert is_closed(faces)
    assert np.isfinite(vertices).all()
    assert signed_volumes(vertices, faces).sum() > 0.0
    corners = vertices[faces]
    assert (np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) > 0).all()


@pytest.mark.parametrize("max_faces", [200, 2000])
def test_the_budget_of_faces_is_kept(max_faces: int) -> None:
    shape = reread(extract_mesh(sphere(0.6), ExportSettings(mesh_cells=48, max_faces=max_faces)))
    assert 0 < len(shape.faces) <= max_faces
    assert shape.is_watertight
    assert shape.volume == pytest.approx(ball_volume(0.6), rel=0.05)


def test_a_sponge_is_simplified_without_fins_and_stays_closed() -> None:
    volume = np.random.default_rng(0).uniform(0.0, 2.0, (17, 17, 17))
    vertices, faces = isosurface(volume, 1.0)
    for budget in (100, 1000, 3000):
        simple, fewer = simplify(vertices, faces, budget)
        assert is_closed(fewer)
        assert signed_volumes(simple, fewer).sum() > 0.0
        assert set(fewer.ravel()) == set(range(len(simple)))
        assert len(drop_folded(fewer)) == len(fewer)


def test_a_mesh_that_would_vanish_is_not_simplified() -> None:
    specks = np.zeros((17, 17, 17))
    specks[1:-1:3, 1:-1:3, 1:-1:3] = 2.0
    vertices, faces = isosurface(specks, 1.0)
    _, fewer = simplify(vertices, faces, 100)
    assert len(fewer) == len(faces)


def test_folded_faces_are_dropped_and_the_rest_stays() -> None:
    tetrahedron = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    fin = np.array([[1, 4, 2], [1, 2, 4], [2, 4, 1], [4, 2, 1]])  # two sheets of it
    assert is_closed(np.concatenate([tetrahedron, fin]))
    left = drop_folded(np.concatenate([fin[:2], tetrahedron, fin[2:]]))
    assert left.tolist() == tetrahedron.tolist()


@pytest.mark.parametrize("fog_level", [0.1, 0.4, 1.0, 2.0])
def test_fog_moves_the_surface_by_less_than_half_a_cell(fog_level: float) -> None:
    shape = reread(extract_mesh(sphere(0.5, fog_level=fog_level), SMALL))
    assert shape.body_count == 1
    assert shape.volume == pytest.approx(ball_volume(0.5), rel=3.0 * (0.5 * 2.0 / 48) / 0.5)


def test_a_scene_as_thin_as_fog_still_has_a_surface() -> None:
    thin = BallsField([Ball(0.7, density=2.0)])
    assert reread(extract_mesh(thin, SMALL)).volume == pytest.approx(ball_volume(0.7), rel=0.1)


@pytest.mark.parametrize("density", [3.0, 30.0, 300.0, 3e6])
def test_silhouettes_match_the_opacity_at_any_density(density: float) -> None:
    volume = BallsField([Ball(0.5, density=density)], edge=0.3).density_volume(48).double().numpy()
    opacity = -np.expm1(-volume.sum(axis=0) * 2.0 / 48)
    silhouette = volume.max(axis=0) >= surface_level(volume, 2.0 / 48)
    assert np.abs(silhouette - opacity).sum() <= np.abs((opacity > 0.5) - opacity).sum() * 1.1 + 1.0


def test_a_colour_is_that_of_the_surface_not_of_what_surrounds_it() -> None:
    skin, around = Ball(0.5, colour=(1.0, 0.0, 0.0)), Ball(0.05, (0.9, 0.9, 0.9), (0.0, 0.0, 1.0), density=0.0)
    core = Ball(0.2, colour=(0.0, 1.0, 0.0))
    mesh = extract_mesh(BallsField([skin, around, core]), SMALL)
    assert (mesh.colours == [255, 0, 0]).all()


def test_thin_and_faint_parts_keep_their_full_colour() -> None:
    mesh = extract_mesh(BallsField([Ball(0.7, density=2.0, colour=(1.0, 1.0, 1.0))]), SMALL)
    assert mesh.colours.min() >= 254
    nowhere = np.array([[0.0, 0.0, 0.95]])
    field = BallsField([Ball(0.1, colour=(1.0, 1.0, 1.0))])
    assert surface_colours(field, nowhere, nowhere / 0.95, 0.02).min() >= 254


def test_normals_are_unit_and_outward() -> None:
    mesh = extract_mesh(sphere(0.6), SMALL)
    normals: Floats = vertex_normals(mesh.vertices, mesh.faces)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1.0)
    assert ((normals * mesh.vertices).sum(axis=1) > 0.45).all()


def test_a_vertex_whose_faces_cancel_has_a_normal_all_the_same() -> None:
    corners = np.eye(3)
    assert vertex_normals(corners, np.array([[0, 1, 2], [0, 2, 1]])).tolist() == [[0.0, 1.0, 0.0]] * 3


def test_the_same_field_gives_the_same_mesh() -> None:
    first, second = (extract_mesh(sphere(0.6), ExportSettings(mesh_cells=24, max_faces=500)) for _ in range(2))
    assert np.array_equal(first.vertices, second.vertices)
    assert np.array_equal(first.faces, second.faces)
    assert np.array_equal(first.colours, second.colours)


def test_extraction_leaves_no_gradient_behind() -> None:
    volume: Tensor = torch.zeros(9, 9, 9)
    volume[3:6, 3:6, 3:6] = 100.0
    field = VolumeField(volume)
    extract_mesh(field, ExportSettings(mesh_cells=8))
    assert field.volume.grad is None


def touching() -> tuple[Floats, Integers]:
    """Return two boxes that touch along an edge, with vertices they share."""
    first = trimesh.creation.box((1.0, 1.0, 1.0))
    second = trimesh.creation.box((1.0, 1.0, 1.0)).apply_translation([1.0, 1.0, 0.0])
    both = trimesh.util.concatenate([first, second])
    assert isinstance(both, trimesh.Trimesh)
    both.merge_vertices()
    return np.asarray(both.vertices), np.asarray(both.faces)


def test_parts_that_touch_along_an_edge_are_separated_and_stay_closed() -> None:
    vertices, faces = touching()
    assert not is_edge_manifold(faces)
    moved, separate = split_nonmanifold(vertices, faces)
    assert is_edge_manifold(separate)
    assert is_closed(separate)
    assert signed_volumes(moved, separate).sum() == pytest.approx(2.0, rel=0.02)
    assert len(np.unique(moved.astype(np.float32), axis=0)) == len(moved) == len(vertices) + 2
    assert trimesh.Trimesh(moved, separate, process=True).is_watertight


def test_what_does_not_touch_stays_as_it_is() -> None:
    ball = trimesh.creation.icosphere(2)
    vertices, faces = split_nonmanifold(ball.vertices, ball.faces)
    assert vertices is ball.vertices
    assert faces is ball.faces
