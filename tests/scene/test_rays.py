"""Rays: points along them, and where they meet the cube."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.scene.rays import Rays, intersect_box, intersect_cube
from tests.support import reference
from tests.support.fields import lines

COORDINATES = st.tuples(*[st.floats(-3.0, 3.0, width=32)] * 3)
AXES = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]


def ray(origin: tuple[float, ...], direction: tuple[float, ...]) -> Rays:
    along = torch.tensor(direction, dtype=torch.float64)
    return lines(torch.tensor([origin], dtype=torch.float64), (along / along.norm())[None])


def meeting(rays: Rays, half_side: float = 1.0) -> tuple[float, float]:
    near, far = intersect_cube(rays, half_side)
    return near.item(), far.item()


def random_rays(count: int) -> Rays:
    """Rays from around the cube and from inside it, towards points near it."""
    generator = torch.Generator().manual_seed(0)
    origins = 6.0 * torch.rand((count, 3), generator=generator) - 3.0
    aims = 3.0 * torch.rand((count, 3), generator=generator) - 1.5
    return lines(origins, torch.nn.functional.normalize(aims - origins, dim=-1))


def test_points_lie_at_their_distances() -> None:
    rays = random_rays(4)
    distances = torch.tensor([[0.0, 1.0, 2.5]]).expand(4, 3)
    points = rays.at(distances)
    assert points.shape == (4, 3, 3)
    assert torch.equal(points[:, 0], rays.origins)
    assert torch.allclose((points - rays.origins[:, None]).norm(dim=-1), distances, atol=1e-5)
    assert torch.allclose(points[:, 2] - rays.origins, 2.5 * rays.directions, atol=1e-6)


def test_a_slice_keeps_origins_with_their_directions_and_radii() -> None:
    rays = random_rays(5)
    rays = Rays(rays.origins, rays.directions, torch.rand(5))
    part = rays[1:3]
    assert (len(rays), len(part)) == (5, 2)
    assert torch.equal(part.origins, rays.origins[1:3])
    assert torch.equal(part.directions, rays.directions[1:3])
    assert torch.equal(part.radii, rays.radii[1:3])
    moved = rays.to(torch.device("cpu"))
    assert torch.equal(moved.directions, rays.directions)
    assert torch.equal(moved.radii, rays.radii)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_ray_along_an_axis_crosses_the_whole_cube(axis: tuple[float, ...], sign: float) -> None:
    rays = ray(tuple(4.0 * sign * a for a in axis), tuple(-sign * a for a in axis))
    assert meeting(rays) == pytest.approx((3.0, 5.0))
    assert meeting(rays, half_side=0.5) == pytest.approx((3.5, 4.5))


def test_the_diagonal_is_as_long_as_it_should_be() -> None:
    near, far = meeting(ray((3.0, 3.0, 3.0), (-1.0, -1.0, -1.0)))
    assert (near, far - near) == pytest.approx((2.0 * math.sqrt(3.0), 2.0 * math.sqrt(3.0)))


@pytest.mark.parametrize(
    ("origin", "direction"),
    [
        ((0.0, 2.0, 4.0), (0.0, 0.0, -1.0)),  # Parallel to the cube, beside it.
        ((0.0, -2.0, 4.0), (0.0, -0.0, -1.0)),
        ((0.0, 0.0, 4.0), (0.0, 0.0, 1.0)),  # The cube is behind.
        ((0.0, 0.0, 4.0), (1.0, 0.0, -1.0)),  # Past the corner.
        ((1.5, 0.0, 1.5), (-1.0, 0.0, 1.0)),
    ],
)
def test_a_miss_has_equal_distances(origin: tuple[float, ...], direction: tuple[float, ...]) -> None:
    near, far = meeting(ray(origin, direction))
    assert near == far
    assert math.isfinite(near)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_ray_parallel_to_faces_and_between_them_hits(zero: float) -> None:
    assert meeting(ray((0.9, -0.9, 4.0), (zero, zero, -1.0))) == pytest.approx((3.0, 5.0))


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_ray_in_the_plane_of_a_face_has_finite_distances(side: float) -> None:
    near, far = meeting(ray((side, 0.0, 4.0), (0.0, 0.0, -1.0)))
    assert math.isfinite(near)
    assert far - near == pytest.approx(0.0) or far - near == pytest.approx(2.0)


def test_a_ray_from_inside_enters_at_0() -> None:
    assert meeting(ray((0.0, 0.0, 0.25), (0.0, 0.0, -1.0))) == pytest.approx((0.0, 1.25))
    assert meeting(ray((0.0, 0.0, 0.25), (0.0, 0.0, 1.0))) == pytest.approx((0.0, 0.75))


@given(COORDINATES, COORDINATES, st.sampled_from([0.5, 1.0]))
def test_agrees_with_the_reference(origin: tuple[float, ...], aim: tuple[float, ...], half_side: float) -> None:
    direction = tuple(a - o for a, o in zip(aim, origin, strict=True))
    if math.hypot(*direction) < 1e-3:
        return
    rays = ray(origin, direction)
    expected = reference.intersect_cube(origin, rays.directions[0].tolist(), half_side)
    near, far = meeting(rays, half_side)
    if expected is None or expected[1] - expected[0] < 1e-9:
        assert far - near == pytest.approx(0.0, abs=1e-8)
    else:
        assert (near, far) == pytest.approx(expected, abs=1e-9)


def test_rays_enter_and_leave_through_the_surface() -> None:
    rays = random_rays(500)
    near, far = intersect_cube(rays)
    hit = far > near
    assert 100 < int(hit.sum()) < 450
    ends = rays.at(torch.stack([near, far], dim=1))[hit]
    outermost: Tensor = ends.abs().amax(dim=-1)
    starts_inside = rays.origins[hit].abs().amax(dim=-1) <= 1.0
    assert torch.allclose(outermost[:, 1], torch.ones(len(ends)), atol=1e-5)
    assert torch.allclose(outermost[~starts_inside, 0], torch.ones(int((~starts_inside).sum())), atol=1e-5)
    assert torch.equal(near[hit] == 0.0, starts_inside)
    assert torch.equal(near[~hit], far[~hit])


def test_a_box_has_its_own_corners_on_each_axis() -> None:
    low, high = torch.tensor([-0.5, 0.25, -1.0]), torch.tensor([0.0, 0.75, 0.5])
    rays = lines(torch.tensor([[-0.25, 0.5, 4.0]]).expand(3, 3).clone(), torch.tensor([[0.0, 0.0, -1.0]]).expand(3, 3))
    rays.origins[1, 0] = 0.25
    rays.origins[2, 1] = 0.0
    near, far = intersect_box(rays, low, high)
    assert near.tolist() == [3.5, 0.0, 0.0]
    assert far.tolist() == [5.0, 0.0, 0.0]


def test_the_cube_is_the_box_between_its_corners() -> None:
    rays = random_rays(100)
    of_cube, of_box = intersect_cube(rays, 0.5), intersect_box(rays, torch.full((3,), -0.5), torch.full((3,), 0.5))
    assert torch.equal(of_cube[0], of_box[0])
    assert torch.equal(of_cube[1], of_box[1])


def test_a_box_without_extent_is_missed() -> None:
    rays = lines(torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, -1.0]]))
    near, far = intersect_box(rays, torch.full((3,), -1.0), torch.full((3,), -1.0))
    assert torch.equal(near, far)
