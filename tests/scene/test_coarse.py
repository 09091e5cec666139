"""Coarse objects, and voxel fields that begin as one."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.scene.coarse import (
    INSIDE,
    OUTSIDE,
    CoarseObject,
    halved,
    missing_density,
    pyramid,
    write_into,
)
from dreamfields.scene.fields.base import lattice
from dreamfields.scene.fields.voxels import VoxelField, blob, interpolate, sum_levels
from dreamfields.scene.settings import VoxelSettings

SETTINGS = VoxelSettings(levels=5)


def ball(nodes: int = 17, radius: float = 1.0, colour: tuple[float, float, float] = (0.8, 0.3, 0.1)) -> CoarseObject:
    """Return a soft ball of one colour."""
    points = lattice(nodes - 1, torch.device("cpu")).points
    occupancy = torch.sigmoid(8.0 * (radius - points.norm(dim=1))).reshape(nodes, nodes, nodes)
    return CoarseObject(occupancy, torch.tensor(colour).expand(nodes, nodes, nodes, 3))


def started(start: CoarseObject, extent: float = 0.75, settings: VoxelSettings = SETTINGS) -> VoxelField:
    """Return a field that begins as an object."""
    field = VoxelField(settings)
    write_into(field, start, extent)
    return field


@given(st.integers(1, 3), st.integers(1, 4), st.floats(0.2, 1.5), st.integers(0, 99))
def test_a_pyramid_sums_to_the_values_that_it_was_made_of(
    coarsest: int, levels: int, level_scale: float, seed: int
) -> None:
    nodes = coarsest * 2 ** (levels - 1) + 1
    values = torch.randn((2, nodes, nodes, nodes), generator=torch.Generator().manual_seed(seed))
    grids = pyramid(values, levels, level_scale)
    assert [grid.shape[-1] for grid in grids] == [coarsest * 2**level + 1 for level in range(levels)]
    assert torch.allclose(sum_levels(grids, level_scale), values, atol=1e-4)


def test_halving_keeps_what_is_constant_and_what_is_linear_inside() -> None:
    nodes = lattice(8, torch.device("cpu")).points.T.reshape(3, 9, 9, 9)
    assert torch.allclose(halved(nodes)[:, 1:-1, 1:-1, 1:-1], nodes[:, 2:-2:2, 2:-2:2, 2:-2:2], atol=1e-6)
    assert torch.equal(halved(torch.ones(1, 9, 9, 9)), torch.ones(1, 5, 5, 5))


@pytest.mark.parametrize("extent", [0.4, 0.75, 1.0])
def test_a_field_that_began_as_a_ball_is_one(extent: float) -> None:
    field = started(ball(), extent)
    points = lattice(32, torch.device("cpu")).points
    density = field.density_volume(32).reshape(-1)
    radius = points.norm(dim=1)
    inside, outside = radius < 0.6 * extent, radius > 1.3 * extent
    assert density[inside].min() > 10.0
    assert density[outside].max() < 0.5


def test_the_density_on_the_nodes_is_what_the_formula_says() -> None:
    start, extent = ball(), 0.75
    field = started(start, extent)
    points = lattice(32, torch.device("cpu")).points
    occupancy = start.occupancy_at(points, extent)
    assert 0.0 <= occupancy.min() < 0.01 < 0.99 < occupancy.max() <= 1.0
    wanted = INSIDE * occupancy + (1.0 - occupancy) * blob(points, SETTINGS).clamp(max=OUTSIDE)
    density = SETTINGS.density_scale * torch.nn.functional.softplus(wanted)
    assert torch.allclose(field.density_volume(32).reshape(-1), density, atol=1e-3)


def test_colours_are_those_of_the_object() -> None:
    field = started(ball(colour=(0.8, 0.3, 0.1)))
    values = field.evaluator()(lattice(8, torch.device("cpu")))
    assert torch.allclose(values.colour, torch.tensor([0.8, 0.3, 0.1]).expand_as(values.colour), atol=1e-3)


def test_only_coarse_grids_are_filled_and_an_odd_pyramid_works() -> None:
    field = started(ball())
    filled = [bool(grid.any()) for grid in field.grids]
    assert filled == [True, True, True, True, False]  # 4, 8, 16 and 32 cells a side, and 64
    fine_only = started(ball(), settings=VoxelSettings(coarsest_cells=40, levels=1))
    assert fine_only.density_volume(8).max() > 10.0


def test_nothing_of_the_object_is_beyond_its_cube() -> None:
    solid = CoarseObject(torch.ones(5, 5, 5), torch.full((5, 5, 5, 3), 0.5))
    points = torch.tensor([[0.5, 0.0, 0.0], [0.51, 0.0, 0.0], [0.0, -0.9, 0.2]])
    assert solid.occupancy_at(points, 0.5).tolist() == [1.0, 0.0, 0.0]


def test_front_left_and_top_stay_where_they_are() -> None:
    occupancy = torch.zeros(17, 17, 17)
    occupancy[12:, 10:, :6] = 1.0  # +z is the front, +y up, -x the left as seen from the front
    field = started(CoarseObject(occupancy, torch.full((17, 17, 17, 3), 0.5)), 1.0)
    grid = field.sum_levels()[:1]
    here, there = torch.tensor([[-0.7, 0.7, 0.8]]), torch.tensor([[0.7, -0.7, -0.8]])
    assert interpolate(grid, here) > interpolate(grid, there) + 0.5


def test_missing_density_is_one_of_nothing_and_none_of_what_is_opaque() -> None:
    inside = torch.tensor([1.0, 0.5, 0.0])
    assert missing_density(torch.zeros(3), inside, 0.1) == 1.0
    assert missing_density(torch.full((3,), 1e6), inside, 0.1) == 0.0
    half = missing_density(torch.full((3,), math.log(2.0) / 0.1), inside, 0.1)
    assert half == pytest.approx(0.5)
    assert missing_density(torch.zeros(3), torch.zeros(3), 0.1) == 0.0


def test_missing_density_pulls_inside_alone_and_where_it_lacks_most() -> None:
    density = torch.tensor([0.0, 50.0, 0.0], requires_grad=True)
    inside = torch.tensor([1.0, 1.0, 0.0])
    missing_density(density, inside, 0.1).backward()
    gradient: Tensor | None = density.grad
    assert gradient is not None
    assert gradient[0] < 10.0 * gradient[1] < 0.0
    assert gradient[2] == 0.0
