"""Textures: each point of the surface in its colour, gutters included, and as cameras see it."""

from functools import cache

import numpy as np
import pytest
import torch

from dreamfields.errors import DegenerateError
from dreamfields.export.asset import Asset
from dreamfields.export.mesh import colours
from dreamfields.export.mesh.colours import dilated, projected_colours, render_surface_view, textured
from dreamfields.export.mesh.components import cameras_around
from dreamfields.export.mesh.fidelity import held_out_cameras, mesh_fidelity, unlit_over_white
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.mesh.surface import extract_mesh
from dreamfields.export.settings import ExportSettings
from dreamfields.scene.cameras import Camera
from tests.support.fields import Ball, BallsField, VolumeField, sphere

SETTINGS = ExportSettings(mesh_cells=32, max_faces=1500, texture_size=256, still_samples=48)
RED, GREEN, BLUE = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9)
THREE = BallsField([Ball(0.25, (0.5, 0.0, 0.0), RED), Ball(0.25, (0.0, 0.5, 0.0), GREEN), Ball(0.3, (0, 0, 0.5), BLUE)])


@cache
def three_balls() -> Mesh:
    return Asset(THREE, SETTINGS, {}).mesh


def test_each_corner_s_texel_has_the_colour_of_its_ball() -> None:
    mesh = three_balls()
    assert mesh.texture is not None
    uv = mesh.texture.atlas.uv[mesh.texture.atlas.faces].mean(axis=1)
    texels = np.clip((uv * [256, -256] + [0, 256]).astype(int), 0, 255)
    colours = mesh.texture.image[texels[:, 1], texels[:, 0]] / 255.0
    middles = mesh.vertices[mesh.faces].mean(axis=1)
    for ball in THREE.balls:
        near = np.linalg.norm(middles - ball.centre, axis=1) < ball.radius + 0.05
        assert near.sum() > 100
        # All but a few at the rims, where a pixel holds a little of what is behind as well.
        assert np.quantile(np.abs(colours[near] - ball.colour).max(axis=1), 0.95) < 0.05


def test_no_texel_of_a_gutter_is_left_black() -> None:
    mesh = three_balls()
    assert mesh.texture is not None
    shades = mesh.texture.image.reshape(-1, 3) / 255.0
    distances = np.abs(shades[:, None] - np.array([RED, GREEN, BLUE])).max(axis=2).min(axis=1)
    assert (distances < 0.1).mean() > 0.97
    assert distances.max() < 0.7  # Black is 0.9 from each.


def test_gutters_take_the_nearest_colour_and_the_rest_stays() -> None:
    image, mask = np.zeros((5, 7, 3), np.uint8), np.zeros((5, 7), bool)
    image[2, 1], image[2, 5] = (200, 0, 0), (0, 0, 200)
    mask[2, 1] = mask[2, 5] = True
    filled = dilated(image, mask)
    assert (filled[:, :3] == (200, 0, 0)).all()
    assert (filled[:, 4:] == (0, 0, 200)).all()
    assert (dilated(image, np.zeros_like(mask)) == image).all()


def test_size_0_is_a_mesh_without_a_texture() -> None:
    asset = Asset(THREE, ExportSettings(mesh_cells=24, texture_size=0), {})
    assert asset.mesh is asset.untextured
    assert asset.note == ""


def test_a_layout_other_than_the_usual_one_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = extract_mesh(sphere(0.5), SETTINGS)
    monkeypatch.setattr(colours, "unwrap", lambda *_: (None, "there was no room"))
    assert textured(mesh, sphere(0.5), SETTINGS, []) == (mesh, "there was no room")


def test_a_point_has_the_colour_that_cameras_see_there() -> None:
    ball = BallsField([Ball(0.5, colour=RED, density=60.0)])
    mesh = extract_mesh(ball, SETTINGS)
    cameras = cameras_around(mesh.vertices)
    views = [render_surface_view(mesh, ball, camera, 64, 64, None) for camera in cameras]
    normals = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    wrong = np.zeros_like(mesh.colours)
    colours = projected_colours(wrong, mesh.vertices, normals, views, 2.0 / 32)
    top = normals[:, 1] > 0.5
    assert (colours[top, 0] > 0.75 * 255 * RED[0]).all()  # The wrong colour along the normal counts for little.
    hidden = projected_colours(wrong, mesh.vertices * 0.5, -normals, views, 2.0 / 32)
    assert (hidden[top] == 0).all()  # A point that no camera sees keeps it.


def test_what_is_behind_something_does_not_take_its_colour() -> None:
    field = BallsField([Ball(0.3, (0.0, 0.0, 0.6), RED), Ball(0.3, (0.0, 0.0, -0.4), BLUE)])
    mesh = extract_mesh(field, SETTINGS)
    front = render_surface_view(mesh, field, Camera(0.0, 0.0), 64, 64, None)
    behind = np.array([[0.0, 0.0, -0.1]])
    kept = projected_colours(np.array([[0, 0, 255]], np.uint8), behind, np.array([[0.0, 0.0, 1.0]]), [front], 0.05)
    assert kept.tolist() == [[0, 0, 255]]


def test_a_mesh_fits_its_field_and_another_does_not() -> None:
    mesh = three_balls()
    cameras = held_out_cameras(cameras_around(mesh.vertices))
    good = mesh_fidelity(mesh, [render_surface_view(mesh, THREE, camera, 64, 48, None) for camera in cameras])
    assert good.views == 8
    assert good.silhouette_iou > 0.93
    assert good.lowest_iou > 0.9
    assert good.colour_psnr > 20.0
    half = Mesh(mesh.vertices * 0.7, mesh.faces, mesh.colours)
    other = mesh_fidelity(half, [render_surface_view(half, THREE, camera, 64, 48, None) for camera in cameras])
    assert other.silhouette_iou < 0.7
    assert other.colour_psnr < good.colour_psnr - 3.0


def test_a_mesh_without_colours_of_its_own_is_drawn_over_white() -> None:
    mesh = Mesh(three_balls().vertices, three_balls().faces, three_balls().colours)
    coverage = render_surface_view(mesh, THREE, Camera(90.0, 0.0), 48, 48, None).coverage
    image = unlit_over_white(mesh, coverage)
    assert (image[~coverage.mask] == 1.0).all()
    assert np.abs(image[coverage.mask][:, None] - np.array([RED, GREEN, BLUE])).max(axis=2).min(axis=1).max() < 0.15


def test_colours_that_are_not_finite_are_refused() -> None:
    volume = torch.zeros(9, 9, 9)
    volume[3:6, 3:6, 3:6] = 100.0
    with pytest.raises(DegenerateError, match="not finite"):
        _ = Asset(VolumeField(volume, grey=float("nan")), SETTINGS, {}).mesh
