"""Slow, obvious versions of the mathematics in plain Python floats, and fields given by formulas.

Nothing here shares code with the package beyond the types at its seams, so that an agreement means something.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from dreamfields.scene.fields.base import AbstractField, Evaluator, FieldValues, Query

Floats = Sequence[float]


@dataclass(frozen=True)
class Pixel:
    """What one ray sees."""

    weights: list[float]
    colour: list[float]
    opacity: float
    depth: float


def render_ray(densities: Floats, lengths: Floats, colours: Sequence[Floats], distances: Floats) -> Pixel:
    """Walk along a ray from the camera and let each segment take its share of the light that is left."""
    light = 1.0
    weights: list[float] = []
    colour = [0.0, 0.0, 0.0]
    depth = 0.0
    for density, length, own_colour, distance in zip(densities, lengths, colours, distances, strict=True):
        passed = math.exp(-density * length)
        weight = light * (1.0 - passed)
        light *= passed
        weights.append(weight)
        colour = [total + weight * channel for total, channel in zip(colour, own_colour, strict=True)]
        depth += weight * distance
    return Pixel(weights, colour, 1.0 - light, depth)


def trilinear(grid: Tensor, point: Floats) -> list[float]:
    """Interpolate a grid (c, k, k, k), indexed [z, y, x], at one point of the cube: 8 nodes weighed by volume."""
    cells = grid.shape[1] - 1
    lowest, fractions = [], []
    for coordinate in point:
        position = (coordinate + 1.0) / 2.0 * cells
        low = min(max(math.floor(position), 0), cells - 1)
        lowest.append(low)
        fractions.append(position - low)
    values = [0.0] * grid.shape[0]
    for corner in range(8):
        offsets = [corner & 1, corner >> 1 & 1, corner >> 2 & 1]
        volume = math.prod(
            fraction if offset else 1.0 - fraction for offset, fraction in zip(offsets, fractions, strict=True)
        )
        x, y, z = (low + offset for low, offset in zip(lowest, offsets, strict=True))
        values = [total + volume * float(node) for total, node in zip(values, grid[:, z, y, x], strict=True)]
    return values


def intersect_cube(origin: Floats, direction: Floats, half_side: float = 1.0) -> tuple[float, float] | None:
    """Return where a ray enters and leaves the cube, or None where it misses: cut away one pair of planes at a time."""
    near, far = 0.0, math.inf
    for start, slope in zip(origin, direction, strict=True):
        if slope == 0.0:
            if abs(start) > half_side:
                return None
            continue
        crossings = sorted([(-half_side - start) / slope, (half_side - start) / slope])
        near, far = max(near, crossings[0]), min(far, crossings[1])
    return (near, far) if near < far else None


def fourier_features(
    point: Floats, covariance: Sequence[Floats], frequencies: Sequence[Floats], scale: float = 1.0
) -> list[float]:
    """Return all cosines, then all sines, of a normal distribution: each wave in turn, by the definition of a mean."""
    cosines, sines = [], []
    for wave in frequencies:
        phase = sum(w * x for w, x in zip(wave, point, strict=True))
        spread = 0.0
        for row, w in zip(covariance, wave, strict=True):
            spread += w * sum(entry * other for entry, other in zip(row, wave, strict=True))
        left = math.exp(-0.5 * scale * scale * spread)
        cosines.append(left * math.cos(phase))
        sines.append(left * math.sin(phase))
    return cosines + sines


def released_covariance(direction: Floats, near: float, far: float, radius: float) -> list[list[float]]:
    """Return the covariance (3, 3) of a piece of a cone as the released code makes it.

    Its directions reach from the camera to the plane one unit ahead and are longer than 1; `near` and `far` count
    in them.
    """
    squared = sum(d * d for d in direction)
    middle, half = 0.5 * (near + far), 0.5 * (far - near)
    along, across = half**2 / 3.0, (radius * middle) ** 2 / 12.0
    covariance = [[0.0] * 3 for _ in range(3)]
    for row, a in enumerate(direction):
        for column, b in enumerate(direction):
            same = 1.0 if row == column else 0.0
            covariance[row][column] = along * a * b + across * (same - a * b / squared)
    return covariance


@final
class FormulaField(AbstractField):
    """A field given by two functions of points (n, 3): a density (n,) and a colour (n, 3)."""

    def __init__(self, density: Callable[[Tensor], Tensor], colour: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.density = density
        self.colour = colour or (lambda points: torch.full_like(points, 0.5))
        self.anchor = nn.Parameter(torch.zeros(()))  # A field's device is that of its parameters.
        self.queries: list[Query] = []
        """Everything that was asked, in order."""

    def evaluator(self) -> Evaluator:
        def evaluate(query: Query) -> FieldValues:
            self.queries.append(query)
            return FieldValues(self.density(query.points), self.colour(query.points))

        return evaluate

    def density_volume(self, cells: int) -> Tensor:
        axis = [2.0 * index / cells - 1.0 for index in range(cells + 1)]
        points = [(x, y, z) for z in axis for y in axis for x in axis]
        return self.density(torch.tensor(points)).reshape(cells + 1, cells + 1, cells + 1)


def ball(centre: Floats, radius: float, density: float) -> Callable[[Tensor], Tensor]:
    """Return the density of a ball: constant inside, zero outside."""

    def density_at(points: Tensor) -> Tensor:
        inside = (points - points.new_tensor(centre)).square().sum(dim=-1) < radius**2
        return density * inside.to(points.dtype)

    return density_at


def tint(colour: Floats) -> Callable[[Tensor], Tensor]:
    """Return one colour everywhere."""
    return lambda points: points.new_tensor(colour).expand_as(points)
