"""Occupancy: a coarse grid of cells that says where a field is worth evaluating.

A sample in an empty cell has density 0 and is not evaluated. A cell is occupied when the density reaches the threshold
at any node of it or of a neighbour, so that a surface can grow into free space between two updates.
"""

import functools
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.scene.fields.base import AbstractField

_EXPORT_CELLS: Final = 32
_INVISIBLE: Final = 0.01  # Density below which one of these cells, 1/16 of a unit, lets 99.9 % of the light through


def occupied_cells(field: AbstractField, cells: int, threshold: float) -> Tensor:
    """Return which of cells^3 cells are occupied: bool (cells, cells, cells), indexed [z, y, x]."""
    if threshold <= 0.0:  # All are, whatever the field.
        return torch.ones(cells, cells, cells, dtype=torch.bool, device=next(field.parameters()).device)
    # Between its nodes a grid is nowhere denser than at them; other fields are evaluated between corners of cells, too.
    steps = 1 if field.grid_cells and cells % field.grid_cells == 0 else 2
    with torch.no_grad():
        dense = field.density_volume(steps * cells) >= threshold
    # A cell and its neighbours along an axis are 3 cells, with nodes at both ends.
    near = functional.pad(dense, (steps,) * 6)
    for axis in range(3):
        near = functools.reduce(torch.logical_or, near.unfold(axis, 3 * steps + 1, steps).unbind(-1))
    return near


def visible_cells(field: AbstractField) -> Tensor | None:
    """Return the cells of a trained field that can be visible: bool (k, k, k); None for a field beyond the cube."""
    return occupied_cells(field, _EXPORT_CELLS, _INVISIBLE) if field.bounded else None


def is_occupied(occupancy: Tensor, points: Tensor) -> Tensor:
    """Return whether points (..., 3) in the cube are in occupied cells: bool (...)."""
    cells = occupancy.shape[0]
    index = ((points + 1.0) * (0.5 * cells)).long().clamp(0, cells - 1)
    flat = (index[..., 2] * cells + index[..., 1]) * cells + index[..., 0]
    return occupancy.reshape(-1)[flat]


def occupied_box(occupancy: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lower and upper corner (3,) in x, y, z of the box around all occupied cells; a point if none is."""
    cells, low, high = occupancy.shape[0], [], []
    numbers = occupancy.to(torch.uint8).reshape(cells, -1)  # Their maxima are much faster than `any`.
    below = numbers.amax(dim=0).reshape(cells, cells)
    for taken in (below.amax(dim=0).tolist(), below.amax(dim=1).tolist(), numbers.amax(dim=1).tolist()):
        first, last = (taken.index(1), cells - taken[::-1].index(1)) if any(taken) else (0, 0)
        low.append(2.0 * first / cells - 1.0)
        high.append(2.0 * last / cells - 1.0)
    return torch.tensor(low, device=occupancy.device), torch.tensor(high, device=occupancy.device)
