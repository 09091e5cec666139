"""Cameras: where they stand, which way is up and right, and what each pixel looks at."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.scene.cameras import Camera, rays_of, sample_cameras, turntable
from dreamfields.scene.settings import CameraSettings

ANGLES = st.floats(-720.0, 720.0)
ELEVATIONS = st.floats(-89.0, 89.0)


def close(value: Tensor, expected: list[float], tolerance: float = 1e-5) -> bool:
    return torch.allclose(value, torch.tensor(expected), atol=tolerance)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "position"),
    [
        (0.0, 0.0, [0.0, 0.0, 3.0]),
        (90.0, 0.0, [3.0, 0.0, 0.0]),
        (180.0, 0.0, [0.0, 0.0, -3.0]),
        (270.0, 0.0, [-3.0, 0.0, 0.0]),
        (0.0, 30.0, [0.0, 1.5, 3.0 * math.sqrt(0.75)]),
        (90.0, -30.0, [3.0 * math.sqrt(0.75), -1.5, 0.0]),
    ],
)
def test_azimuth_0_is_the_front_and_azimuth_90_the_positive_x_side(
    azimuth: float, elevation: float, position: list[float]
) -> None:
    assert close(Camera(azimuth, elevation, radius=3.0).position(), position)


TARGETS = st.tuples(*[st.floats(-1.0, 1.0)] * 3)


@given(ANGLES, ELEVATIONS, st.floats(2.0, 50.0), TARGETS)
def test_the_camera_looks_at_its_target_from_its_radius(
    azimuth: float, elevation: float, radius: float, target: tuple[float, float, float]
) -> None:
    camera = Camera(azimuth, elevation, radius, target=target)
    away, forward = camera.position() - torch.tensor(target), camera.axes()[2]
    assert away.norm().item() == pytest.approx(radius, rel=1e-5)
    assert torch.allclose(away + radius * forward, torch.zeros(3), atol=1e-5 * radius)


def test_another_target_moves_the_camera_and_turns_nothing() -> None:
    here, there = Camera(30.0, 20.0), Camera(30.0, 20.0, target=(0.1, -0.2, 0.3))
    assert close(there.position() - here.position(), [0.1, -0.2, 0.3])
    assert torch.equal(there.axes(), here.axes())
    assert torch.equal(there.rays(3).directions, here.rays(3).directions)


@given(ANGLES, ELEVATIONS)
def test_axes_are_orthonormal_level_and_upright(azimuth: float, elevation: float) -> None:
    right, up, forward = axes = Camera(azimuth, elevation).axes()
    assert torch.allclose(axes @ axes.T, torch.eye(3), atol=1e-5)
    assert torch.allclose(torch.linalg.cross(right, up), -forward, atol=1e-5)
    assert right[1].item() == pytest.approx(0.0, abs=1e-6)
    assert up[1].item() == pytest.approx(math.cos(math.radians(elevation)), abs=1e-5)


def pixel_of(camera: Camera, point: list[float], size: int = 33) -> tuple[int, int]:
    """Return row and column of the pixel whose ray passes nearest to a point."""
    rays = camera.rays(size)
    along = torch.nn.functional.normalize(torch.tensor(point) - camera.position(), dim=0)
    index = int((rays.directions @ along).argmax())
    return index // size, index % size


MIDDLE = 16


@pytest.mark.parametrize(
    ("azimuth", "point", "row_side", "column_side"),
    [
        (0.0, [0.5, 0.0, 0.0], 0, +1),
        (0.0, [-0.5, 0.0, 0.0], 0, -1),
        (0.0, [0.0, 0.5, 0.0], -1, 0),
        (0.0, [0.0, -0.5, 0.0], +1, 0),
        (90.0, [0.0, 0.0, 0.5], 0, -1),
        (90.0, [0.0, 0.5, 0.0], -1, 0),
        (180.0, [0.5, 0.0, 0.0], 0, -1),
        (270.0, [0.0, 0.0, 0.5], 0, +1),
    ],
)
def test_images_are_not_mirrored(azimuth: float, point: list[float], row_side: int, column_side: int) -> None:
    row, column = pixel_of(Camera(azimuth, 0.0), point)
    assert ((row > MIDDLE) - (row < MIDDLE), (column > MIDDLE) - (column < MIDDLE)) == (row_side, column_side)


def test_from_above_near_things_are_low_in_the_image() -> None:
    row, column = pixel_of(Camera(0.0, 30.0), [0.0, 0.0, 0.5])
    assert row > MIDDLE
    assert column == MIDDLE


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("fov_deg", [20.0, 90.0])
def test_pixel_centres_fill_the_field_of_view_evenly_and_squarely(size: int, fov_deg: float) -> None:
    camera = Camera(35.0, 20.0, 4.0, fov_deg)
    rays = camera.rays(size)
    right, up, forward = (rays.directions @ axis for axis in camera.axes())
    # The image plane at distance 1 spans -tan(fov / 2) to tan(fov / 2); rows run from the top, columns from the left.
    side = 2.0 * math.tan(math.radians(fov_deg) / 2.0)
    centres = [((index + 0.5) / size - 0.5) * side for index in range(size)]
    assert close(right / forward, [x for _ in range(size) for x in centres])
    assert close(up / forward, [-y for y in centres for _ in range(size)])


@given(ANGLES, ELEVATIONS)
def test_rays_start_at_the_camera_with_unit_directions(azimuth: float, elevation: float) -> None:
    camera = Camera(azimuth, elevation)
    rays = camera.rays(3)
    assert torch.equal(rays.origins, camera.position().expand(9, 3))
    assert torch.allclose(rays.directions.norm(dim=-1), torch.ones(9), atol=1e-6)


def test_rays_of_several_cameras_follow_one_another() -> None:
    cameras = [Camera(10.0, 5.0), Camera(200.0, 40.0, radius=3.0, fov_deg=60.0)]
    rays = rays_of(cameras, 2)
    assert len(rays) == 8
    for index, camera in enumerate(cameras):
        own, part = camera.rays(2), rays[4 * index : 4 * index + 4]
        assert torch.equal(part.origins, own.origins)
        assert torch.equal(part.directions, own.directions)
        assert torch.equal(part.radii, own.radii)


@pytest.mark.parametrize("fov_deg", [10.0, 40.0, 110.0])
def test_on_a_plane_before_the_camera_all_cones_have_the_radius_of_one_pixel(fov_deg: float) -> None:
    camera, size, depth = Camera(70.0, -20.0, fov_deg=fov_deg), 7, 3.0
    rays = camera.rays(size)
    distances = depth / (rays.directions @ camera.axes()[2])
    points = camera.position() + distances[:, None] * rays.directions
    side = (points[1] - points[0]).norm()
    assert torch.allclose(rays.radii * distances, side / math.sqrt(12.0) * torch.ones(size**2), rtol=1e-4)


SETTINGS = CameraSettings(azimuth_deg=(-60.0, 120.0), elevation_deg=(10.0, 30.0), fov_deg=(25.0, 50.0), radius=3.0)


def drawn(count: int, seed: int = 0) -> list[Camera]:
    return sample_cameras(SETTINGS, count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("seed", range(5))
def test_each_part_of_the_azimuths_holds_one_camera(count: int, seed: int) -> None:
    cameras = drawn(count, seed)
    low, high = SETTINGS.azimuth_deg
    parts = [int((camera.azimuth_deg - low) / (high - low) * count) for camera in cameras]
    assert parts == list(range(count))


def test_draws_fill_their_intervals_and_nothing_else() -> None:
    cameras = [camera for seed in range(200) for camera in drawn(2, seed)]
    for name in ("azimuth_deg", "elevation_deg", "fov_deg"):
        low, high = getattr(SETTINGS, name)
        fractions = torch.tensor([(getattr(camera, name) - low) / (high - low) for camera in cameras])
        assert fractions.min() >= 0.0
        assert fractions.max() <= 1.0
        # 400 uniform draws: mean 1/2 and variance 1/12, each within five standard errors.
        assert fractions.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / 400))
        assert fractions.var().item() == pytest.approx(1 / 12, abs=5 * math.sqrt(1 / 180 / 400))
    assert {camera.radius for camera in cameras} == {3.0}


def test_angles_are_drawn_independently() -> None:
    cameras = [drawn(1, seed)[0] for seed in range(400)]
    draws = torch.tensor([(camera.azimuth_deg, camera.elevation_deg, camera.fov_deg) for camera in cameras])
    correlations = torch.corrcoef(draws.T) - torch.eye(3)
    assert correlations.abs().max() < 5 / math.sqrt(400)


def test_the_generator_alone_decides_the_cameras() -> None:
    assert drawn(4, seed=1) == drawn(4, seed=1)
    assert drawn(4, seed=1) != drawn(4, seed=2)


def test_a_turntable_goes_evenly_around_its_target_from_the_front() -> None:
    cameras = turntable(4, elevation_deg=10.0, fov_deg=20.0, target=(0.1, 0.2, 0.3))
    azimuths = (0.0, 90.0, 180.0, 270.0)
    assert cameras == [Camera(azimuth, 10.0, fov_deg=20.0, target=(0.1, 0.2, 0.3)) for azimuth in azimuths]
