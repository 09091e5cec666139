"""The renderer: closed forms, what hides what, packing, chunks and gradients."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from dreamfields.render.occupancy import occupied_cells
from dreamfields.render.renderer import Rendering, render, render_rays, render_still
from dreamfields.render.settings import Jitter
from dreamfields.render.volume import MIDDLE, draw_jitter
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import FieldValues, Query
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import VoxelSettings
from tests.support import reference
from tests.support.fields import lines
from tests.support.reference import FormulaField, ball, tint

FRONT = Camera(0.0, 0.0)


def parallel_ray(x: float, y: float = 0.0) -> Rays:
    """A ray from +Z into the cube, beside the axis."""
    return lines(torch.tensor([[x, y, 4.0]]), torch.tensor([[0.0, 0.0, -1.0]]))


def random_voxels(seed: int = 0) -> VoxelField:
    field = VoxelField(VoxelSettings(coarsest_cells=2, levels=2, density_scale=1.0))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for grid in field.grids:
            grid.copy_(torch.randn(grid.shape, generator=generator))
    return field


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("density", [0.5, 3.0])
def test_a_ball_of_constant_density_has_its_closed_form(offset: float, density: float) -> None:
    field = FormulaField(ball((0.0, 0.0, 0.0), 0.6, density), tint((1.0, 0.5, 0.25)))
    *colour, opacity, depth = render_rays(field.evaluator(), parallel_ray(offset), 2000)[0].tolist()
    chord = 2.0 * math.sqrt(0.6**2 - offset**2)
    assert opacity == pytest.approx(1.0 - math.exp(-density * chord), abs=2e-3)
    assert colour == pytest.approx([opacity, 0.5 * opacity, 0.25 * opacity], abs=1e-5)
    # The mean distance of what is seen lies in the front half of the chord.
    assert 4.0 - chord / 2.0 < depth / opacity < 4.0


def test_a_ray_past_the_ball_sees_nothing() -> None:
    field = FormulaField(ball((0.0, 0.0, 0.0), 0.6, 100.0))
    assert render_rays(field.evaluator(), parallel_ray(0.61), 100).abs().max() == 0.0
    assert render_rays(field.evaluator(), parallel_ray(2.0), 100).abs().max() == 0.0


def test_an_opaque_surface_is_seen_at_its_distance() -> None:
    field = FormulaField(ball((0.0, 0.0, 0.0), 0.5, 1e5))
    opacity, depth = render_rays(field.evaluator(), parallel_ray(0.0), 1000)[0, 3:].tolist()
    assert opacity == pytest.approx(1.0)
    assert depth == pytest.approx(3.5, abs=2e-3)


def test_doubling_the_samples_quarters_the_error_on_a_smooth_field() -> None:
    def wavy(points: Tensor) -> Tensor:
        return 0.3 + 0.2 * torch.sin(3.0 * points[:, 2] + points[:, 0]) + 0.1 * points[:, 1]

    def colour(points: Tensor) -> Tensor:
        return torch.sigmoid(2.0 * points)

    origin = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    rays = lines(origin, -origin / origin.norm())
    evaluate = FormulaField(wavy, colour).evaluator()
    exact = render_rays(evaluate, rays, 4096)
    errors = [(render_rays(evaluate, rays, samples) - exact)[0, :4].norm().item() for samples in (8, 16, 32, 64)]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders == pytest.approx([2.0] * 3, abs=0.2)


def test_the_whole_pipeline_agrees_with_the_slow_reference() -> None:
    field, samples = random_voxels(), 9
    rays = Camera(37.0, 24.0, fov_deg=60.0).rays(3)
    pixels = render_rays(field.evaluator(), rays, samples)
    for ray in range(len(rays)):
        origin, direction = rays.origins[ray].tolist(), rays.directions[ray].tolist()
        crossing = reference.intersect_cube(origin, direction)
        if crossing is None:
            assert pixels[ray].abs().max() == 0.0
            continue
        near, far = crossing
        length = (far - near) / samples
        distances = [near + (index + 0.5) * length for index in range(samples)]
        densities, colours = [], []
        for distance in distances:
            point = [o + distance * d for o, d in zip(origin, direction, strict=True)]
            coarse, fine = (reference.trilinear(grid.detach(), point) for grid in field.levels())
            value = [c + 0.6 * f for c, f in zip(coarse, fine, strict=True)]
            densities.append(math.log1p(math.exp(5.0 * value[0] + 5.0 * (1.0 - 2.0 * math.hypot(*point)) - 1.0)))
            colours.append(field_colour(field, value[1:]))
        seen = reference.render_ray(densities, [length] * samples, colours, distances)
        assert pixels[ray].tolist() == pytest.approx([*seen.colour, seen.opacity, seen.depth], abs=1e-3)


def field_colour(field: VoxelField, values: list[float]) -> list[float]:
    rows = [(0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03)]
    longest = max(math.hypot(*row) for row in rows)
    mixed = [sum(c * v for c, v in zip(row, values, strict=True)) / longest for row in rows]
    return [1.0 / (1.0 + math.exp(-field.settings.colour_gain * m)) for m in mixed]


@pytest.mark.parametrize("jittered", [False, True])
def test_a_field_is_told_the_footprint_of_every_sample(jittered: bool) -> None:
    field, camera = FormulaField(ball((0.0, 0.0, 0.0), 0.5, 1.0)), Camera(20.0, 10.0, fov_deg=50.0)
    jitter = draw_jitter(25, 9, "sample", torch.Generator().manual_seed(0)) if jittered else MIDDLE
    occupancy = occupied_cells(field, 8, 0.5)
    render(field, [camera], 5, 9, occupancy=occupancy, jitter=jitter)
    (query,) = field.queries
    assert len(query) > 50
    away = query.points - camera.position()
    distances = away.norm(dim=-1)
    assert torch.allclose(query.directions, away / distances[:, None], atol=1e-5)
    ahead = away @ camera.axes()[2]
    # A pixel's side grows with the distance to the plane of the camera.
    expected = 2.0 * math.tan(math.radians(25.0)) / 5 * ahead / math.sqrt(12.0)
    assert torch.allclose(query.radii, expected, rtol=1e-4)
    assert query.lengths.min() > 0.0


@pytest.mark.parametrize(("azimuth", "seen"), [(0.0, [1.0, 0.0, 0.0]), (180.0, [0.0, 0.0, 1.0])])
def test_a_near_opaque_thing_hides_a_far_one(azimuth: float, seen: list[float]) -> None:
    front, back = ball((0.0, 0.0, 0.5), 0.3, 1e4), ball((0.0, 0.0, -0.5), 0.3, 1e4)

    def colour(points: Tensor) -> Tensor:
        red, blue = points.new_tensor([1.0, 0.0, 0.0]), points.new_tensor([0.0, 0.0, 1.0])
        return torch.where(points[:, 2:] > 0.0, red, blue)

    field = FormulaField(lambda points: front(points) + back(points), colour)
    picture = render_still(field, Camera(azimuth, 0.0), 1)
    assert picture.colour.flatten().tolist() == pytest.approx(seen, abs=1e-4)


@pytest.mark.parametrize(
    ("azimuth", "centre", "side"),
    [
        (0.0, (0.5, 0.0, 0.0), "right"),
        (0.0, (0.0, 0.5, 0.0), "top"),
        (90.0, (0.0, 0.0, 0.5), "left"),
        (90.0, (0.0, 0.5, 0.0), "top"),
        (180.0, (0.5, 0.0, 0.0), "left"),
        (270.0, (0.0, 0.0, 0.5), "right"),
        (0.0, (0.0, -0.5, 0.0), "bottom"),
    ],
)
def test_things_appear_on_their_side_of_the_picture(azimuth: float, centre: tuple[float, ...], side: str) -> None:
    opacity = render_still(FormulaField(ball(centre, 0.2, 100.0)), Camera(azimuth, 0.0), 16, 64).opacity[0, 0]
    halves = {"top": opacity[:8], "bottom": opacity[8:], "left": opacity[:, :8], "right": opacity[:, 8:]}
    assert opacity.sum() > 1.0
    assert halves[side].sum() == opacity.sum()


def test_all_queries_lie_in_the_cube_with_their_own_direction_and_length() -> None:
    field = FormulaField(lambda points: points.new_ones(len(points)))
    rays = Camera(20.0, 30.0, fov_deg=60.0).rays(8)
    render_rays(
        field.evaluator(), rays, 10, jitter=draw_jitter(len(rays), 10, "sample", torch.Generator().manual_seed(0))
    )
    (query,) = field.queries
    crossings = [
        reference.intersect_cube(origin, direction)
        for origin, direction in zip(rays.origins.tolist(), rays.directions.tolist(), strict=True)
    ]
    hits = [index for index, crossing in enumerate(crossings) if crossing]
    assert 0 < len(hits) < len(rays)
    assert len(query.points) == 10 * len(hits)
    assert query.points.abs().max() <= 1.0 + 1e-5
    assert torch.equal(query.directions, rays.directions[hits].repeat_interleave(10, dim=0))
    chords = torch.tensor([crossing[1] - crossing[0] for crossing in crossings if crossing])
    assert torch.allclose(query.lengths.reshape(-1, 10), (chords / 10)[:, None].expand(-1, 10), atol=1e-5)
    along = torch.nn.functional.normalize(query.points - rays.origins[0], dim=-1)
    assert torch.allclose(along, query.directions, atol=1e-5)


def test_answers_return_to_their_own_ray() -> None:
    def evaluate(query: Query) -> FieldValues:
        return FieldValues(torch.full((len(query.points),), 1e6), 0.5 + 0.5 * query.directions)

    rays = Camera(20.0, 30.0, fov_deg=60.0).rays(8)
    occupancy = torch.rand((4, 4, 4), generator=torch.Generator().manual_seed(0)) < 0.5
    pixels = render_rays(evaluate, rays, 10, occupancy=occupancy)
    seen = pixels[:, 3] > 0.5
    assert 0 < int(seen.sum()) < len(rays)
    assert torch.allclose(pixels[seen, :3], 0.5 + 0.5 * rays.directions[seen], atol=1e-5)


def test_lengths_travel_with_their_samples() -> None:
    def evaluate(query: Query) -> FieldValues:
        return FieldValues(0.3 / query.lengths, torch.zeros_like(query.points))

    occupancy = torch.rand((4, 4, 4), generator=torch.Generator().manual_seed(0)) < 0.5
    opacity = render_rays(evaluate, Camera(20.0, 30.0, fov_deg=60.0).rays(8), 10, occupancy=occupancy)[:, 3]
    # Each occupied sample has the optical depth 0.3, however long it is.
    counts = -torch.log(1.0 - opacity) / 0.3
    assert torch.allclose(counts, counts.round(), atol=1e-2)
    assert len(set(counts.round().tolist())) > 4


def test_empty_cells_within_the_box_are_not_asked() -> None:
    field = FormulaField(lambda points: points.new_ones(len(points)))
    occupancy = torch.zeros(2, 2, 2, dtype=torch.bool)
    occupancy[0, 0, 0] = occupancy[1, 1, 1] = True
    render(field, [Camera(20.0, 30.0)], 8, 20, occupancy=occupancy)
    (query,) = field.queries
    signs = query.points.sign()
    assert set(signs[:, 0].tolist()) == {-1.0, 1.0}
    assert (signs == signs[:, :1]).all()


def test_only_occupied_cells_are_asked() -> None:
    field = FormulaField(lambda points: points.new_ones(len(points)))
    occupancy = torch.zeros(2, 2, 2, dtype=torch.bool)
    occupancy[1, 0, 1] = True  # z > 0, y < 0, x > 0
    part = render(field, [FRONT], 6, 20, occupancy=occupancy)
    (query,) = field.queries
    assert len(query.points) > 0
    assert ((query.points * torch.tensor([1.0, -1.0, 1.0])) >= 0.0).all()
    assert part.opacity[0, 0, :3].max() == 0.0
    everywhere = torch.ones(2, 2, 2, dtype=torch.bool)
    assert_equal(render(field, [FRONT], 6, 20, occupancy=everywhere), render(field, [FRONT], 6, 20))


def test_samples_lie_in_the_occupied_box_and_their_lengths_fill_it() -> None:
    field = FormulaField(lambda points: points.new_ones(len(points)))
    occupancy = torch.zeros(4, 4, 4, dtype=torch.bool)
    occupancy[1:3, 1:3, 1:3] = True
    pixels = render_rays(field.evaluator(), parallel_ray(0.1), 10, occupancy=occupancy)
    (query,) = field.queries
    assert len(query.points) == 10
    assert query.points.abs().max() <= 0.5
    assert torch.allclose(query.lengths, torch.full((10,), 0.1), atol=1e-6)
    assert pixels[0, 3].item() == pytest.approx(1.0 - math.exp(-1.0), abs=1e-5)


def test_nothing_occupied_is_a_picture_of_nothing_with_a_gradient_of_0() -> None:
    field = random_voxels()
    picture = render(field, [FRONT], 4, 5, occupancy=torch.zeros(2, 2, 2, dtype=torch.bool))
    assert picture.opacity.max() == 0.0
    (picture.colour.sum() + picture.opacity.sum()).backward()
    assert all(grid.grad is not None and float(grid.grad.abs().sum()) == 0.0 for grid in field.grids)


def assert_equal(one: Rendering, other: Rendering, tolerance: float = 1e-5) -> None:
    assert one.colour.shape == other.colour.shape
    assert torch.allclose(one.colour, other.colour, atol=tolerance)
    assert torch.allclose(one.opacity, other.opacity, atol=tolerance)
    assert torch.allclose(one.depth, other.depth, atol=tolerance)


@pytest.mark.parametrize("ray_batch_size", [1, 7, 81, 100_000])
def test_a_still_does_not_depend_on_how_many_rays_go_at_once(ray_batch_size: int) -> None:
    field, camera = random_voxels(), Camera(40.0, 25.0)
    occupancy = occupied_cells(field, 4, 0.5)
    whole = render(field, [camera], 9, 16, occupancy=occupancy)
    assert_equal(render_still(field, camera, 9, 16, occupancy=occupancy, ray_batch_size=ray_batch_size), whole)


def test_several_cameras_are_several_pictures() -> None:
    field = random_voxels()
    cameras = [Camera(0.0, 0.0), Camera(100.0, 30.0, fov_deg=50.0), Camera(220.0, -20.0, radius=3.0)]
    together = render(field, cameras, 5, 8)
    assert together.colour.shape == (3, 3, 5, 5)
    assert together.opacity.shape == together.depth.shape == (3, 1, 5, 5)
    for index, camera in enumerate(cameras):
        alone = render_still(field, camera, 5, 8)
        assert torch.allclose(together.colour[index], alone.colour[0], atol=1e-5)
        assert torch.allclose(together.depth[index], alone.depth[0], atol=1e-5)


def test_pixels_are_where_their_rays_are() -> None:
    field = random_voxels()
    picture = render(field, [FRONT], 4, 8)
    pixels = render_rays(field.evaluator(), FRONT.rays(4), 8)
    for row in range(4):
        for column in range(4):
            seen = [*picture.colour[0, :, row, column], picture.opacity[0, 0, row, column]]
            assert torch.allclose(torch.stack(seen), pixels[4 * row + column, :4])
            assert torch.allclose(picture.depth[0, 0, row, column], pixels[4 * row + column, 4])


@pytest.mark.parametrize("kind", ["ray", "sample"])
def test_jitter_is_decided_by_its_generator_and_averages_out(kind: Jitter) -> None:
    field = random_voxels()

    def jittered(seed: int) -> Tensor:
        jitter = draw_jitter(9, 16, kind, torch.Generator().manual_seed(seed))
        return render(field, [FRONT], 3, 16, jitter=jitter).colour.detach()

    assert torch.equal(jittered(1), jittered(1))
    assert not torch.equal(jittered(1), jittered(2))
    mean = torch.stack([jittered(seed) for seed in range(100)]).mean(dim=0)
    assert torch.allclose(mean, render_still(field, FRONT, 3, 512).colour, atol=0.02)


def test_a_rendering_lies_over_grey_or_over_a_picture() -> None:
    picture = render_still(FormulaField(ball((0.0, 0.0, 0.0), 0.5, 1.0), tint((0.2, 0.4, 0.6))), FRONT, 4)
    assert torch.equal(picture.over(0.0), picture.colour)
    assert torch.allclose(picture.over(1.0), picture.colour + 1.0 - picture.opacity)
    background = torch.rand(1, 3, 4, 4)
    assert torch.allclose(picture.over(background), picture.colour + (1.0 - picture.opacity) * background)


def test_gradients_through_the_renderer_are_right() -> None:
    rays = Camera(30.0, 20.0, fov_deg=20.0).rays(2)
    rays = lines(rays.origins.double(), rays.directions.double())
    centre = torch.tensor([0.1, -0.2, 0.3, 2.0], dtype=torch.float64, requires_grad=True)

    def pixels(parameters: Tensor) -> Tensor:
        def evaluate(query: Query) -> FieldValues:
            density = parameters[3] * torch.exp(-(query.points - parameters[:3]).square().sum(dim=-1))
            return FieldValues(density, torch.sigmoid(query.points * parameters[:3]))

        return render_rays(evaluate, rays, 6)

    assert gradcheck(pixels, (centre,))
