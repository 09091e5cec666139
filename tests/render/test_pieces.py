"""Which cells of a field belong to its object."""

import pytest
import torch
from torch import Tensor

from dreamfields.render.pieces import LEAST, REACH, SOLID, main_pieces
from dreamfields.scene.fields.base import AbstractField, Evaluator
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.settings import VoxelSettings

CELLS = 16
EVERYWHERE = torch.ones(CELLS, CELLS, CELLS, dtype=torch.bool)


class Volume(AbstractField):
    """A field of which only the densities on its nodes are asked."""

    def __init__(self, densities: Tensor) -> None:
        super().__init__()
        self.densities = densities

    def evaluator(self) -> Evaluator:
        """Not asked."""
        raise NotImplementedError

    def density_volume(self, cells: int) -> Tensor:
        """Return the densities."""
        assert cells == CELLS
        return self.densities


def with_block(density: float = 50.0) -> Tensor:
    """Return densities of a solid block of 5 nodes a side with its lowest node at 6."""
    densities = torch.zeros(CELLS + 1, CELLS + 1, CELLS + 1)
    densities[6:11, 6:11, 6:11] = density
    return densities


def span(cells: Tensor) -> tuple[int, int]:
    """Return the first and last kept cell along x."""
    kept = torch.nonzero(cells.any(dim=0).any(dim=0))[:, 0]
    return int(kept[0]), int(kept[-1])


def test_a_block_is_kept_with_its_surroundings() -> None:
    kept = main_pieces(Volume(with_block()), EVERYWHERE)
    assert span(kept) == (6 - REACH - 1, 10 + REACH)  # A cell is kept with any of its nodes.
    occupied = EVERYWHERE.clone()
    occupied[:, :, 8:] = False
    assert torch.equal(main_pieces(Volume(with_block()), occupied), kept & occupied)


def test_haze_and_tiny_pieces_are_left_out_and_larger_ones_kept() -> None:
    alone, densities = main_pieces(Volume(with_block()), EVERYWHERE), with_block()
    densities[:, :, 14:] = 0.9 * SOLID
    assert torch.equal(main_pieces(Volume(densities), EVERYWHERE), alone)
    # A single node with a little less than the least share, and with a little more.
    for share, stays in ((0.9 * LEAST, False), (1.1 * LEAST, True)):
        apart = with_block()
        apart[1, 1, 1] = share * 125 * 50.0
        assert bool(main_pieces(Volume(apart), EVERYWHERE)[0, 0, 0]) is stays


def test_pieces_that_touch_at_a_corner_are_one() -> None:
    densities = with_block()
    densities[5, 5, 5] = densities[4, 4, 4] = densities[3, 3, 3] = SOLID
    assert main_pieces(Volume(densities), EVERYWHERE)[1, 1, 1]


@pytest.mark.parametrize("density", [0.0, 0.99 * SOLID])
def test_of_what_is_nowhere_solid_everything_is_kept(density: float) -> None:
    assert torch.equal(main_pieces(Volume(with_block(density)), EVERYWHERE), EVERYWHERE)


def test_a_field_that_goes_on_beyond_the_cube_is_kept_whole() -> None:
    field = Volume(with_block())
    field.bounded = False
    assert main_pieces(field, EVERYWHERE) is EVERYWHERE


def test_a_new_field_is_one_piece_and_no_gradient_is_kept() -> None:
    field = VoxelField(VoxelSettings(levels=3))
    kept = main_pieces(field, EVERYWHERE)
    assert kept[8, 8, 8]
    assert not kept[0, 0, 0]
    assert not kept.requires_grad
