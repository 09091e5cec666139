"""Surfaces as voxels."""

import numpy as np
import pytest
import trimesh

from dreamfields.train.renders import Model
from dreamfields.train.solids import COARSE, FINE, filled, solid, spread, turned

RED = (0.9, 0.1, 0.1)


def model(shape: trimesh.Trimesh, colour: tuple[float, float, float] = RED) -> Model:
    """Return a mesh as a model of one colour that fits the cube."""
    vertices = shape.vertices - shape.bounds.mean(axis=0)
    return Model(vertices / np.abs(vertices).max(), shape.faces, np.tile(np.array(colour), (len(vertices), 1)))


def joined(parts: list[trimesh.Trimesh]) -> trimesh.Trimesh:
    """Return several meshes as one."""
    found = trimesh.util.concatenate(parts)
    assert isinstance(found, trimesh.Trimesh)
    return found


def draws() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_ball_is_filled() -> None:
    found = solid(model(trimesh.creation.icosphere(4)), draws())
    axis = np.linspace(-1.0, 1.0, FINE)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    assert found.filled[radius < 0.93].all()
    assert not found.filled[radius > 1.07].any()


def test_an_open_box_is_hollow_a_closed_one_solid_and_what_is_beside_a_pillar_empty() -> None:
    box = trimesh.creation.box((2.0, 1.0, 2.0))
    assert solid(model(box), draws()).filled[8:25, 10:22, 8:25].all()
    box.update_faces(np.abs(box.face_normals[:, 1] - 1.0) > 1e-6)  # Without its lid
    assert not solid(model(box), draws()).filled[8:25, 10:22, 8:25].any()
    # A T of two boxes: under its arms there is nothing.
    tee = joined(
        [trimesh.creation.box((0.4, 2.0, 0.4)), trimesh.creation.box((2.0, 0.4, 0.4)).apply_translation((0, 0.8, 0))]
    )
    found = solid(model(tee), draws())
    assert found.filled[16, 4:28, 16].all()
    assert not found.filled[16, 2:20, 2:10].any()


def test_filling_needs_the_surface_on_both_sides_of_every_axis() -> None:
    shell = np.zeros((7, 7, 7), bool)
    shell[1:6, 1:6, 1:6] = True
    shell[2:5, 2:5, 2:5] = False
    assert filled(shell)[1:6, 1:6, 1:6].all()
    assert filled(shell).sum() == 125
    shell[:, :, 4:] = False  # Open towards +x
    assert not filled(shell)[3, 3, 4:].any()
    assert np.array_equal(filled(filled(shell)), filled(shell))


@pytest.mark.parametrize(("front", "axis", "sign"), [(0.0, "z", 1), (90.0, "x", 1), (180.0, "z", -1), (270.0, "x", -1)])
def test_the_front_is_turned_towards_the_camera_at_azimuth_0(front: float, axis: str, sign: int) -> None:
    nose = np.zeros(3)
    nose["xyz".index(axis)] = 0.9 * sign
    shape = Model(np.array([nose, [0.0, 0.5, 0.0], [0.0, -0.5, 0.0]]), np.array([[0, 1, 2]]), np.ones((3, 3)))
    assert np.allclose(turned(shape, front).vertices[0], [0.0, 0.0, 0.9], atol=1e-12)
    assert np.allclose(turned(shape, front).vertices[1:], shape.vertices[1:], atol=1e-12)


def test_axes_of_the_lattice_are_those_of_the_model() -> None:
    corner = trimesh.creation.box((0.2, 0.2, 0.2)).apply_translation((0.9, -0.9, 0.1))
    vertices = np.concatenate([corner.vertices, [[-1, -1, -1], [1, 1, 1]]])
    found = solid(Model(vertices, corner.faces, np.ones((len(vertices), 3))), draws())
    z, y, x = (indices.mean() for indices in np.nonzero(found.filled[1:-1, 1:, 1:]))
    assert x > 28
    assert y < 4
    assert 15 < z < 19


def test_colours_are_the_surfaces_and_reach_everywhere() -> None:
    halves = model(trimesh.creation.icosphere(4))
    halves.colours[halves.vertices[:, 1] > 0.0] = (0.1, 0.1, 0.9)
    colours = solid(halves, draws()).colours
    assert colours.shape == (COARSE, COARSE, COARSE, 3)
    assert (colours[:, -1] @ np.array([-1.0, 0.0, 1.0]) > 0.5).all()
    assert (colours[:, 0] @ np.array([-1.0, 0.0, 1.0]) < -0.5).all()


def test_colours_spread_to_the_nearest_nodes_first_and_means_are_kept() -> None:
    sums, counts = np.zeros((5, 5, 5, 3)), np.zeros((5, 5, 5))
    sums[0, 0, 0], counts[0, 0, 0] = (4.0, 2.0, 0.0), 4
    sums[4, 4, 4], counts[4, 4, 4] = (0.0, 0.0, 3.0), 3
    found = spread(sums, counts)
    assert found[0, 0, 0].tolist() == [1.0, 0.5, 0.0]
    assert found[1, 0, 0].tolist() == [1.0, 0.5, 0.0]
    assert found[4, 4, 3].tolist() == [0.0, 0.0, 1.0]
    assert (found.sum(axis=-1) > 0.0).all()


def test_the_same_draws_give_the_same_voxels() -> None:
    shape = model(trimesh.creation.icosphere(2))
    one, other = (solid(shape, draws()) for _ in range(2))
    assert np.array_equal(one.filled, other.filled)
    assert np.array_equal(one.colours, other.colours)
