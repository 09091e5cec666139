"""The voxel field: interpolation, the pyramid and its sum, the prior, and what a field promises."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from dreamfields.scene.colour import correlation
from dreamfields.scene.fields import voxels
from dreamfields.scene.fields.base import Query
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.settings import VoxelSettings
from tests.support import reference
from tests.support.fields import SMALL, random_voxels


def points_in_cube(count: int, seed: int = 0) -> Tensor:
    return 2.0 * torch.rand((count, 3), generator=torch.Generator().manual_seed(seed)) - 1.0


def query(points: Tensor) -> Query:
    return Query(points, torch.zeros_like(points), torch.zeros(len(points)), torch.zeros(len(points)))


def test_interpolation_agrees_with_the_reference() -> None:
    grid, points = torch.randn(4, 4, 4, 4), points_in_cube(30)
    corners = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    points = torch.cat([points, corners])
    expected = torch.tensor([reference.trilinear(grid, point) for point in points.tolist()])
    assert torch.allclose(voxels.interpolate(grid, points), expected, atol=1e-5)


def test_interpolation_reproduces_linear_functions() -> None:
    axis = torch.linspace(-1.0, 1.0, 5)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    grid = (2.0 * x - 3.0 * y + 5.0 * z + 1.0)[None]
    points = points_in_cube(50)
    expected = points @ torch.tensor([2.0, -3.0, 5.0]) + 1.0
    assert torch.allclose(voxels.interpolate(grid, points)[:, 0], expected, atol=1e-5)


def test_a_point_rounded_out_of_the_cube_has_the_value_of_the_border() -> None:
    grid = torch.randn(1, 3, 3, 3)
    beyond = voxels.interpolate(grid, torch.tensor([[1.0001, 0.3, -0.2], [0.1, -1.0001, 0.5]]))
    border = voxels.interpolate(grid, torch.tensor([[1.0, 0.3, -0.2], [0.1, -1.0, 0.5]]))
    assert torch.allclose(beyond, border, atol=1e-6)


@given(st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.6, 1.0, 1.7]), st.integers(0, 1000))
def test_one_grid_on_the_finest_nodes_equals_the_sum_of_levels_in_values_and_gradients(
    levels: int, scale: float, seed: int
) -> None:
    field = random_voxels(VoxelSettings(coarsest_cells=2, levels=levels, level_scale=scale), seed=seed)
    grids, points = list(field.grids), points_in_cube(40, seed)
    grad = torch.randn(40, 4)
    finest = voxels.interpolate(field.sum_levels(), points)
    summed = voxels.interpolate_levels(field.levels(), scale, points)
    assert torch.allclose(finest, summed, atol=1e-5)
    of_finest = torch.autograd.grad((finest * grad).sum(), grids)
    of_summed = torch.autograd.grad((summed * grad).sum(), grids)
    for one, other in zip(of_finest, of_summed, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_levels_are_weighed_by_powers_of_the_scale() -> None:
    grids = [torch.ones(4, n, n, n) for n in (3, 5, 9)]
    points = points_in_cube(5)
    assert torch.allclose(voxels.interpolate_levels(grids, 0.5, points), torch.full((5, 4), 1.75))
    assert torch.allclose(voxels.sum_levels(grids, 0.5), torch.full((4, 9, 9, 9), 1.75))


def test_each_level_is_twice_as_fine_as_the_last() -> None:
    field = VoxelField(VoxelSettings(coarsest_cells=3, levels=4))
    assert [tuple(grid.shape) for grid in field.grids] == [(n, n, n, 4) for n in (4, 7, 13, 25)]
    assert [tuple(level.shape) for level in field.levels()] == [(4, n, n, n) for n in (4, 7, 13, 25)]
    assert field.sum_levels().shape == (4, 25, 25, 25)


def test_a_new_field_is_a_grey_blob_by_its_formula() -> None:
    settings = VoxelSettings(density_scale=7.0, blob_strength=3.0, blob_offset=-0.5, density_gain=2.0)
    radii = [0.0, 0.25, 0.5, 1.0]
    points = torch.tensor([[r * 0.48, r * 0.6, r * 0.64] for r in radii])
    values = VoxelField(settings).evaluator()(query(points))
    expected = [7.0 * math.log1p(math.exp(3.0 * (1.0 - 2.0 * r) - 0.5)) for r in radii]
    assert values.density.tolist() == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(values.colour, torch.full((4, 3), 0.5))


def test_density_and_colour_follow_their_formulas() -> None:
    settings = VoxelSettings(density_scale=3.0, density_gain=4.0, blob_strength=2.0, blob_offset=0.7, colour_gain=1.5)
    values, points = torch.randn(6, 4), points_in_cube(6)
    decoded = voxels.decode(values, points, settings)
    matrix = correlation().tolist()
    for index, (value, point) in enumerate(zip(values.tolist(), points.tolist(), strict=True)):
        activation = 4.0 * value[0] + 2.0 * (1.0 - 2.0 * math.hypot(*point)) + 0.7
        assert decoded.density[index].item() == pytest.approx(3.0 * math.log1p(math.exp(activation)), rel=1e-4)
        mixed = [sum(c * v for c, v in zip(row, value[1:], strict=True)) for row in matrix]
        expected = [1.0 / (1.0 + math.exp(-1.5 * m)) for m in mixed]
        assert decoded.colour[index].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_evaluator_decodes_the_definition() -> None:
    field, points = random_voxels(), points_in_cube(20)
    values = field.evaluator()(query(points))
    summed = voxels.interpolate_levels(field.levels(), SMALL.level_scale, points)
    expected = voxels.decode(summed, points, SMALL)
    assert torch.allclose(values.density, expected.density, rtol=1e-4, atol=1e-5)
    assert torch.allclose(values.colour, expected.colour, atol=1e-5)


def test_every_grid_learns_through_the_evaluator() -> None:
    field = random_voxels()
    values = field.evaluator()(query(points_in_cube(200)))
    (values.density.sum() + values.colour.sum()).backward()
    for grid in field.grids:
        assert grid.grad is not None
        assert all(float(channel.abs().sum()) > 0.0 for channel in grid.grad.unbind(-1))


@pytest.mark.parametrize("cells", [1, 4, 6, 8])
def test_the_density_volume_is_the_density_at_its_nodes_indexed_z_y_x(cells: int) -> None:
    field = random_voxels()
    volume = field.density_volume(cells)
    assert volume.shape == (cells + 1, cells + 1, cells + 1)
    evaluate = field.evaluator()
    for z, y, x in [(0, 0, 0), (cells, 0, 0), (0, cells, 0), (0, 0, cells), (cells, cells // 2, 0)]:
        point = torch.tensor([[-1.0 + 2.0 * index / cells for index in (x, y, z)]])
        assert volume[z, y, x].item() == pytest.approx(evaluate(query(point)).density.item(), rel=1e-4)


@pytest.mark.parametrize("spread", [0.0, 1.0, 1e2, 1e4])
def test_values_and_gradients_stay_finite_and_in_range(spread: float) -> None:
    field = random_voxels(spread=spread)
    values = field.evaluator()(query(torch.cat([points_in_cube(50), torch.zeros(1, 3)])))
    assert torch.isfinite(values.density).all()
    assert values.density.min() >= 0.0
    assert values.colour.min() >= 0.0
    assert values.colour.max() <= 1.0
    (values.density.sum() + values.colour.sum()).backward()
    assert all(grid.grad is not None and torch.isfinite(grid.grad).all() for grid in field.grids)


def test_gradients_of_interpolation_sum_and_density_are_right() -> None:
    points = points_in_cube(4).double()
    grids = [torch.randn(2, n, n, n, dtype=torch.float64, requires_grad=True) for n in (2, 3)]

    def density(*levels: Tensor) -> Tensor:
        values = voxels.interpolate(voxels.sum_levels(list(levels), 0.6), points)
        return voxels.density_from_values(values[:, 0], points, SMALL)

    assert gradcheck(density, grids)
