"""A network field that begins as a coarse object: a short regression on random points.

Notation: p (n,) the object's occupancy at points, o = 1 - exp(-sigma h) the opacity of pieces of the thickness h; c
(n, 3) colours. Minimised is the mean of (o - p')^2 + p |c - c'|^2 with p' = `EMPTY` + (`SOLID` - `EMPTY`) p.
"""

from typing import Final

import torch
from torch import Tensor

from dreamfields.scene.coarse import CoarseObject
from dreamfields.scene.fields.base import AbstractField, Query

THICKNESS: Final = 0.125  # Of a piece, in scene units
EMPTY, SOLID = 0.003, 0.98  # Opacities of pieces where p is 0 and 1, which a finite density reaches
_STEPS: Final = 60
_POINTS: Final = 4096
_RATE: Final = 3e-3  # Of Adam at the first step, falling linearly to a tenth
_SIZES: Final = (0.01, 0.1)  # Least and largest extent of a sample in scene units, as views have them


def fit_to(field: AbstractField, start: CoarseObject, extent: float, generator: torch.Generator) -> None:
    """Make a new field on the CPU a coarse object with the half side `extent` in (0, 1]; points are drawn at random."""
    parameters = [*field.parameters()]
    with torch.enable_grad():
        optimizer = torch.optim.Adam(parameters, lr=_RATE, betas=(0.9, 0.99))
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=_STEPS)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            misfit(field, start, extent, samples(extent, generator)).backward()
            optimizer.step()
            falling.step()
    for parameter in parameters:
        parameter.grad = None


def misfit(field: AbstractField, start: CoarseObject, extent: float, query: Query) -> Tensor:
    """Return how far a field is from an object at the points of a query, ()."""
    occupancy, values = start.occupancy_at(query.points, extent), field.evaluator()(query)
    opacity = 1.0 - torch.exp(-THICKNESS * values.density)
    colours = (values.colour - start.colours_at(query.points, extent)).square().sum(dim=-1)
    wanted = EMPTY + (SOLID - EMPTY) * occupancy
    return ((opacity - wanted).square() + occupancy * colours).mean()


def samples(extent: float, generator: torch.Generator) -> Query:
    """Return random samples of random sizes: half in the cube with the half side `extent`, half in the whole one."""
    points = 2.0 * torch.rand((_POINTS, 3), generator=generator) - 1.0
    points[: _POINTS // 2] *= extent
    sizes = _SIZES[0] + (_SIZES[1] - _SIZES[0]) * torch.rand(_POINTS, generator=generator)
    return Query(points, torch.tensor([0.0, 0.0, 1.0]).expand_as(points), sizes, sizes)
