"""Triangles to pixels: each pixel has the face that a ray through its centre meets first, at the right spot of it."""

import numpy as np
import pytest
import trimesh

from dreamfields.export.mesh.raster import (
    Coverage,
    cover,
    cover_reference,
    cover_view,
    project,
    shaded,
    shaded_reference,
)
from dreamfields.scene.cameras import Camera

CAMERA = Camera(35.0, 25.0, 4.0, 34.0, (0.1, -0.05, 0.2))


def test_a_projected_point_lies_on_the_ray_of_its_pixel() -> None:
    size = 8
    rays = CAMERA.rays(size)
    distances = np.linspace(2.0, 6.0, size * size)[:, None]
    points = rays.origins.double().numpy() + distances * rays.directions.double().numpy()
    seen, ahead = project(points, CAMERA, size)
    rows, columns = np.divmod(np.arange(size * size), size)
    assert np.allclose(seen, np.stack([columns + 0.5, rows + 0.5], axis=1), atol=1e-4)
    forward = CAMERA.axes().double().numpy()[2]
    assert np.allclose(ahead, distances[:, 0] * (rays.directions.double().numpy() @ forward), atol=1e-5)


def test_every_pixel_has_the_face_that_its_ray_meets_first() -> None:
    ball = trimesh.creation.icosphere(2, 0.3).apply_translation([0.3, 0.4, 0.5])
    shape = trimesh.util.concatenate([trimesh.creation.torus(0.5, 0.2, 24, 16), ball])
    assert isinstance(shape, trimesh.Trimesh)
    size = 24
    found = cover_view(shape.vertices, shape.faces, CAMERA, size)
    rays = CAMERA.rays(size)
    corners = np.asarray(shape.triangles)
    origins, directions = rays.origins.double().numpy(), rays.directions.double().numpy()
    nearest = np.full(size * size, np.inf)
    for a, b, c in corners:  # Moeller and Trumbore, one triangle at a time.
        normal = np.cross(b - a, c - a)
        t = ((a - origins) @ normal) / (directions @ normal)
        points = origins + t[:, None] * directions
        inside = np.ones(len(points), bool)
        for start, end in ((a, b), (b, c), (c, a)):
            inside &= np.cross(end - start, points - start) @ normal >= 0.0
        nearest = np.where(inside & (t < nearest), t, nearest)
    assert np.array_equal(found.mask.ravel(), np.isfinite(nearest))
    spots = found.interpolate(shape.vertices, shape.faces)
    met = (origins + np.where(np.isfinite(nearest), nearest, 0.0)[:, None] * directions)[found.mask.ravel()]
    assert np.allclose(spots, met, atol=1e-4)


@pytest.mark.parametrize("winding", [[0, 1, 2], [2, 1, 0]])
def test_a_flat_square_is_covered_once_whatever_its_winding(winding: list[int]) -> None:
    corners = np.array([[[1.0, 1.0], [7.0, 1.0], [7.0, 7.0]], [[1.0, 1.0], [7.0, 7.0], [1.0, 7.0]]])[:, winding]
    found = cover(corners, 8)
    assert found.mask.sum() == 36
    assert np.allclose(found.weights[found.mask].sum(axis=1), 1.0)


def test_faces_without_area_or_outside_the_picture_cover_nothing() -> None:
    corners = np.array([[[1.0, 1.0], [5.0, 5.0], [3.0, 3.0]], [[-9.0, 1.0], [-3.0, 1.0], [-5.0, 7.0]]])
    assert not cover(corners, 8).mask.any()
    assert not cover(np.zeros((0, 3, 2)), 8).mask.any()


def test_what_is_behind_the_camera_is_not_seen() -> None:
    behind = CAMERA.position().numpy() * 2.0
    triangle = behind + np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert not cover_view(triangle, np.array([[0, 1, 2]]), CAMERA, 16).mask.any()


@pytest.mark.parametrize("flat", [False, True])
def test_the_compiled_loop_finds_what_the_reference_finds(flat: bool) -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(-8.0, 40.0, (300, 3, 2))
    # Corners at the centres of pixels, faces twice and faces without area: ties and edges.
    corners[:100] = np.round(corners[:100]) + 0.5
    corners[100:120], corners[120:130, 1] = corners[80:100], corners[120:130, 0]
    corners[200:] *= 0.2
    depths = None if flat else random.uniform(0.2, 2.0, (300, 3))
    if depths is not None:
        depths[100:120] = depths[80:100]
    found, expected = cover(corners, 32, depths), cover_reference(corners, 32, depths)
    assert isinstance(found, Coverage)
    assert found.mask.any()
    assert np.array_equal(found.faces, expected.faces)
    assert np.array_equal(found.weights, expected.weights)


def test_a_shaded_image_is_what_the_reference_gives_and_opaque_where_it_is_covered() -> None:
    ball = trimesh.creation.icosphere(3, 0.8)
    colours = np.random.default_rng(0).random((len(ball.vertices), 3)).astype(np.float32)
    brightness = np.random.default_rng(1).random(len(ball.faces)).astype(np.float32)
    coverage = cover_view(ball.vertices, ball.faces, CAMERA, 64)
    found = shaded(coverage, ball.faces, colours, brightness)
    assert found.shape == (32, 32, 4)
    assert np.allclose(found, shaded_reference(coverage, ball.faces, colours, brightness), atol=1e-6)
    assert np.allclose(found[..., 3], coverage.mask.reshape(32, 2, 32, 2).mean(axis=(1, 3)))
    plain = shaded(coverage, ball.faces, np.ones_like(colours), np.ones_like(brightness))
    assert np.allclose(plain, found[..., 3:].repeat(4, axis=-1), atol=1e-6)
