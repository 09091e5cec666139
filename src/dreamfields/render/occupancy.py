"""Occupancy: a coarse grid of cells that says where there is anything to sample.

A sample in an empty cell counts as density 0 and is never asked of the field. A cell is occupied when the density at
any node of it, or of a neighbour, reaches the threshold; the margin of one cell lets a surface grow into free space
between two updates.
"""

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.scene.fields.base import AbstractField


def occupied_cells(field: AbstractField, cells: int, threshold: float) -> Tensor:
    """Return which of cells^3 cells are occupied: bool (cells, cells, cells), indexed [z, y, x]."""
    with torch.no_grad():
        nodes = field.density_volume(2 * cells)[None, None]
    # Each cell spans 3 nodes a side of the doubled lattice; the second pooling is the margin of one cell.
    density = functional.max_pool3d(nodes, kernel_size=3, stride=2)
    dilated = functional.max_pool3d(density, kernel_size=3, stride=1, padding=1)
    return dilated[0, 0] >= threshold


def is_occupied(occupancy: Tensor, points: Tensor) -> Tensor:
    """Look up the cells of points (..., 3) in the cube: bool (...)."""
    cells = occupancy.shape[0]
    index = ((points + 1.0) * (0.5 * cells)).long().clamp(0, cells - 1)
    flat = (index[..., 2] * cells + index[..., 1]) * cells + index[..., 0]
    return occupancy.reshape(-1)[flat]
