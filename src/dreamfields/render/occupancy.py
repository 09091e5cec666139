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


def occupied_box(occupancy: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners (3,), (3,) in x, y, z of the box around all occupied cells; a point if there is none."""
    cells = occupancy.shape[0]
    low, high = [], []
    for axis in (2, 1, 0):
        others = [other for other in (0, 1, 2) if other != axis]
        taken = occupancy.any(dim=others[1]).any(dim=others[0]).nonzero()[:, 0]
        first, last = (int(taken[0]), int(taken[-1]) + 1) if len(taken) else (0, 0)
        low.append(2.0 * first / cells - 1.0)
        high.append(2.0 * last / cells - 1.0)
    return torch.tensor(low, device=occupancy.device), torch.tensor(high, device=occupancy.device)
