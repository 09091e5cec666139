"""Pieces: what can be seen stays however small its volume, and what cannot goes however large."""

import numpy as np
import pytest
import torch
import trimesh

from dreamfields.export.mesh.components import cameras_around, visible_components
from dreamfields.export.mesh.raster import project
from dreamfields.export.mesh.surface import extract_mesh
from dreamfields.export.settings import ExportSettings
from tests.support.fields import Ball, BallsField, VolumeField

BODY = trimesh.creation.icosphere(3, 0.5)


def kept(*components: trimesh.Trimesh) -> int:
    """Return how many of some pieces are kept."""
    together = trimesh.util.concatenate(list(components))
    assert isinstance(together, trimesh.Trimesh)
    vertices, faces = visible_components(together.vertices, together.faces)
    return int(trimesh.Trimesh(vertices, faces, process=False).body_count)


def test_a_thin_rod_stays_and_a_speck_of_more_volume_does_not_hide_behind_it() -> None:
    rod = trimesh.creation.cylinder(0.02, 1.0).apply_translation([0.8, 0.0, 0.0])
    assert rod.volume < 0.01 * BODY.volume  # Volume alone would not tell it from a speck.
    assert kept(BODY, rod) == 2


def test_a_speck_goes() -> None:
    assert kept(BODY, trimesh.creation.icosphere(1, 0.04).apply_translation([0.8, 0.0, 0.0])) == 1


def test_a_ball_within_a_closed_shell_goes_however_large() -> None:
    assert kept(BODY, trimesh.creation.icosphere(3, 0.45)) == 1


def test_what_only_shows_from_below_stays() -> None:
    plate = trimesh.creation.box((2.0, 0.05, 2.0))
    knob = trimesh.creation.icosphere(2, 0.25).apply_translation([0.0, -0.4, 0.0])
    assert kept(plate, knob) == 2


def test_one_piece_stays_as_it_is() -> None:
    vertices, faces = visible_components(BODY.vertices, BODY.faces)
    assert np.array_equal(vertices[faces], BODY.vertices[BODY.faces])


def test_looks_hold_all_of_a_mesh_in_view() -> None:
    box = trimesh.creation.box((0.4, 1.8, 0.9)).apply_translation([0.5, 0.0, -0.3])
    for camera in cameras_around(box.vertices):
        seen, ahead = project(box.vertices, camera, 100)
        assert (seen >= 0.0).all()
        assert (seen <= 100.0).all()
        assert (ahead > 0.0).all()


def test_a_field_s_floater_goes_and_its_parts_stay() -> None:
    body, part, floater = Ball(0.45, (-0.4, 0.0, 0.0)), Ball(0.25, (0.6, 0.5, 0.0)), Ball(0.06, (0.6, -0.6, 0.0))
    mesh = extract_mesh(BallsField([body, part, floater]), ExportSettings(mesh_cells=48))
    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).body_count == 2


def test_a_closed_cavity_is_filled() -> None:
    axis = torch.linspace(-1.0, 1.0, 49)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    radius = (x * x + y * y + z * z).sqrt()
    mesh = extract_mesh(VolumeField(60.0 * ((radius - 0.6).abs() < 0.1)), ExportSettings(mesh_cells=48))
    shape = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert shape.body_count == 1
    assert shape.volume == pytest.approx(4.0 / 3.0 * np.pi * 0.7**3, rel=0.08)
