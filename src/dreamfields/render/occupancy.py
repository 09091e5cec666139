"""Occupancy: a coarse grid of cells that says where there is anything to sample.

A sample in an empty cell counts as density 0 and is never asked of the field. A cell is occupied when the density at
any node of it, or of a neighbour, reaches the threshold; the margin of one cell lets a surface grow into free space
between two updates.
"""

import functools
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.scene.fields.base import AbstractField

_VIEWED_CELLS: Final = 32
"""Cells a side for looking at a field that is finished."""
_INVISIBLE: Final = 0.01
"""Density below which a cell, 1/16 of a scene unit, lets 99.9 % of the light through."""


def occupied_cells(field: AbstractField, cells: int, threshold: float) -> Tensor:
    """Return which of cells^3 cells are occupied: bool (cells, cells, cells), indexed [z, y, x]."""
    if threshold <= 0.0:  # Nothing is less dense than that, and a network need not be asked two million times.
        return torch.ones(cells, cells, cells, dtype=torch.bool, device=next(field.parameters()).device)
    # The nodes of a grid are where it is densest; others are looked at between the corners of cells, too.
    steps = 1 if field.grid_cells and cells % field.grid_cells == 0 else 2
    with torch.no_grad():
        dense = field.density_volume(steps * cells) >= threshold
    # A cell and the margin of one on either side are 3 cells, and begin and end with a node.
    near = functional.pad(dense, (steps,) * 6)
    for axis in range(3):
        rows = near.unfold(axis, 3 * steps + 1, steps).unbind(-1)
        near = functools.reduce(torch.logical_or, rows)
    return near


def visible_cells(field: AbstractField) -> Tensor | None:
    """Return the cells of which something can be seen: bool (k, k, k); None of a field that goes on beyond the cube.

    What is left out lets 99.9 % of the light through; a network would take minutes to say so.
    """
    return occupied_cells(field, _VIEWED_CELLS, _INVISIBLE) if field.bounded else None


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
    numbers = occupancy.to(torch.uint8)  # Their maxima are found much sooner than whether any is true.
    for others in ((0, 1), (0, 2), (1, 2)):
        taken = numbers.amax(dim=others).tolist()
        first, last = (taken.index(1), cells - taken[::-1].index(1)) if any(taken) else (0, 0)
        low.append(2.0 * first / cells - 1.0)
        high.append(2.0 * last / cells - 1.0)
    return torch.tensor(low, device=occupancy.device), torch.tensor(high, device=occupancy.device)
