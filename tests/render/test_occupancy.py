"""Occupancy: it may say too much, but never too little."""

import pytest
import torch
from torch import Tensor

from dreamfields.render.occupancy import is_occupied, occupied_box, occupied_cells, visible_cells
from dreamfields.render.renderer import render, render_still
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.settings import VoxelSettings
from tests.support.reference import FormulaField, ball


def points_in_cube(count: int) -> Tensor:
    return 2.0 * torch.rand((count, 3), generator=torch.Generator().manual_seed(0)) - 1.0


THRESHOLD = 2e-5
"""Small enough that what it drops along a whole diagonal, 2 sqrt(3) long, stays below an opacity of 1e-4."""


def speckled_field(seed: int) -> VoxelField:
    """A field of three lumps on each of its two grids, of 8 and 16 cells, in empty space."""
    field = VoxelField(VoxelSettings(coarsest_cells=8, levels=2, blob_strength=0.0, blob_offset=-14.0))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for grid in field.grids:
            grid[..., 1:] = torch.randn(grid[..., 1:].shape, generator=generator)
            for _ in range(3):
                z, y, x = torch.randint(1, len(grid) - 1, (3,), generator=generator).tolist()
                grid[z, y, x, 0] = 6.0
    return field


def test_an_empty_field_occupies_nothing_and_a_full_one_everything() -> None:
    assert not occupied_cells(FormulaField(lambda points: points.new_zeros(len(points))), 4, 0.1).any()
    assert occupied_cells(FormulaField(lambda points: points.new_ones(len(points))), 4, 0.1).all()


@pytest.mark.parametrize(("density", "expected"), [(0.49, False), (0.5, True), (0.51, True)])
def test_a_density_that_reaches_the_threshold_counts(density: float, expected: bool) -> None:
    field = FormulaField(lambda points: torch.full((len(points),), density))
    assert occupied_cells(field, 2, 0.5).all() == expected


def test_a_threshold_of_zero_occupies_everything_and_asks_nothing() -> None:
    def unasked(points: Tensor) -> Tensor:
        raise AssertionError("the field was asked")

    assert occupied_cells(FormulaField(unasked), 4, 0.0).all()


@pytest.mark.parametrize("point", [(0.75, -0.25, -0.75), (-0.75, 0.5, 0.0), (1.0, -1.0, 0.25)])
def test_a_speck_occupies_the_cells_that_touch_it_and_their_neighbours_only(point: tuple[float, ...]) -> None:
    # A speck on one node of the lattice over 8 cells of side 1/4.
    field = FormulaField(ball(point, 0.05, 1.0))
    occupied = occupied_cells(field, 8, 0.1)
    assert occupied.shape == (8, 8, 8)
    for z in range(8):
        for y in range(8):
            for x in range(8):
                centre = [-1.0 + 0.25 * (index + 0.5) for index in (x, y, z)]
                # Cells touch the speck when their centre lies half a side from it; the margin adds one side.
                distance = max(abs(a - b) for a, b in zip(centre, point, strict=True))
                assert bool(occupied[z, y, x]) == (distance <= 0.125 + 0.25 + 1e-6), (x, y, z)


def test_points_are_looked_up_in_their_own_cell() -> None:
    cells = 5
    occupancy = torch.rand((cells, cells, cells), generator=torch.Generator().manual_seed(1)) < 0.5
    points = points_in_cube(200)
    expected = []
    for point in points.tolist():
        x, y, z = (int((coordinate + 1.0) / 2.0 * cells) for coordinate in point)
        expected.append(bool(occupancy[z, y, x]))
    assert is_occupied(occupancy, points).tolist() == expected
    assert is_occupied(occupancy, points.reshape(20, 10, 3)).shape == (20, 10)


def test_points_on_or_just_beyond_the_faces_belong_to_the_cells_inside() -> None:
    occupancy = torch.zeros(3, 3, 3, dtype=torch.bool)
    occupancy[0, 1, 2] = True
    points = torch.tensor([[1.0, 0.0, -1.0], [1.0001, 0.0, -1.0001], [-1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
    assert is_occupied(occupancy, points).tolist() == [True, True, False, False]


@pytest.mark.parametrize("cells", [8, 16])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_dense_is_dropped(cells: int, seed: int) -> None:
    field = speckled_field(seed)
    occupied = occupied_cells(field, cells, THRESHOLD)
    axis = torch.linspace(-1.0, 1.0, 33)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    looked_up = is_occupied(occupied, torch.stack([x, y, z], dim=-1))
    assert looked_up[field.density_volume(32) >= THRESHOLD].all()
    assert 0.0 < occupied.float().mean() < 0.8


@pytest.mark.parametrize("seed", range(3))
def test_rendering_the_occupied_cells_only_is_rendering_everything(seed: int) -> None:
    field = speckled_field(seed)
    cameras = [Camera(30.0, 20.0), Camera(200.0, -40.0)]
    occupied = occupied_cells(field, 16, THRESHOLD)
    # Two opposite corners stretch the box to the whole cube, so that the samples are the same.
    occupied[0, 0, 0] = occupied[-1, -1, -1] = True
    assert occupied.float().mean() < 0.5
    with torch.no_grad():
        everything = render(field, cameras, 12, 64)
        packed = render(field, cameras, 12, 64, occupancy=occupied)
    assert everything.opacity.max() > 0.5
    assert torch.allclose(packed.colour, everything.colour, atol=1e-4)
    assert torch.allclose(packed.opacity, everything.opacity, atol=1e-4)
    assert torch.allclose(packed.depth, everything.depth, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_rendering_within_the_occupied_box_converges_to_the_same_picture(seed: int) -> None:
    field, camera = speckled_field(seed), Camera(30.0, 20.0)
    occupied = occupied_cells(field, 16, THRESHOLD)
    everything = render_still(field, camera, 8, 2000)
    packed = render_still(field, camera, 8, 2000, occupancy=occupied)
    assert everything.opacity.max() > 0.5
    assert torch.allclose(packed.colour, everything.colour, atol=1e-3)
    assert torch.allclose(packed.depth, everything.depth, atol=5e-3)


@pytest.mark.parametrize("seed", range(3))
def test_what_can_be_seen_of_a_field_is_in_its_visible_cells(seed: int) -> None:
    field, camera = speckled_field(seed), Camera(200.0, -40.0)
    visible = visible_cells(field)
    assert visible is not None
    assert 0.0 < visible.float().mean() < 0.8
    everything, packed = (render_still(field, camera, 8, 2000, occupancy=some) for some in (None, visible))
    assert everything.opacity.max() > 0.5
    assert torch.allclose(packed.colour, everything.colour, atol=2e-3)


def test_of_a_field_without_end_everything_is_looked_at() -> None:
    field = speckled_field(0)
    field.bounded = False
    assert visible_cells(field) is None


def test_the_box_holds_all_occupied_cells_and_no_more() -> None:
    occupancy = torch.zeros(8, 8, 8, dtype=torch.bool)
    occupancy[1, 4, 6] = occupancy[3, 2, 7] = True  # z, y, x
    low, high = occupied_box(occupancy)
    assert low.tolist() == [0.5, -0.5, -0.75]
    assert high.tolist() == [1.0, 0.25, 0.0]


def test_the_box_of_everything_is_the_cube_and_that_of_nothing_a_point() -> None:
    low, high = occupied_box(torch.ones(3, 3, 3, dtype=torch.bool))
    assert (low.tolist(), high.tolist()) == ([-1.0] * 3, [1.0] * 3)
    low, high = occupied_box(torch.zeros(3, 3, 3, dtype=torch.bool))
    assert torch.equal(low, high)


@pytest.mark.parametrize("seed", range(3))
def test_the_box_agrees_with_the_faces_of_its_cells(seed: int) -> None:
    cells = 6
    occupancy = torch.rand((cells,) * 3, generator=torch.Generator().manual_seed(seed)) < 0.02
    corners = [[(2.0 * index / cells - 1.0) for index in cell] for cell in occupancy.nonzero().flip(-1).tolist()]
    low, high = occupied_box(occupancy)
    assert low.tolist() == pytest.approx([min(axis) for axis in zip(*corners, strict=True)])
    assert high.tolist() == pytest.approx([max(axis) + 2.0 / cells for axis in zip(*corners, strict=True)])


def test_looking_leaves_no_gradient_behind() -> None:
    assert not occupied_cells(speckled_field(0), 4, 0.1).requires_grad
