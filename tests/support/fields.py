"""Fields with a known shape or of random values, and rays that are lines, for tests of rendering and export."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.scene.fields.base import AbstractField, Evaluator, FieldValues, Query
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import VoxelSettings

Triple = tuple[float, float, float]

SMALL = VoxelSettings(coarsest_cells=2, levels=3)


@dataclass(frozen=True)
class Ball:
    """A ball of one density and one colour."""

    radius: float
    centre: Triple = (0.0, 0.0, 0.0)
    colour: Triple = (0.8, 0.3, 0.1)
    density: float = 60.0


@final
class BallsField(AbstractField):
    """Balls whose density falls linearly to 0 over `edge`, half of it inside the radius; the nearest one colours."""

    def __init__(self, balls: Sequence[Ball], edge: float = 0.01, fog_level: float = 0.0) -> None:
        super().__init__()
        self.balls = tuple(balls)
        self.edge = edge
        self.fog_level = fog_level
        self.anchor = nn.Parameter(torch.zeros(()))  # A field's device is that of its parameters.

    def evaluator(self) -> Evaluator:
        def evaluate(query: Query) -> FieldValues:
            outside = self.outside(query.points)
            colours = query.points.new_tensor([ball.colour for ball in self.balls])
            return FieldValues(self.density(query.points), colours[outside.argmin(dim=-1)])

        return evaluate

    def density_volume(self, cells: int) -> Tensor:
        return self.density(lattice(cells)).reshape(cells + 1, cells + 1, cells + 1)

    def density(self, points: Tensor) -> Tensor:
        """Return the densities (n,) of points (n, 3)."""
        full = points.new_tensor([ball.density for ball in self.balls])
        fractions = (0.5 - self.outside(points) / self.edge).clamp(0.0, 1.0)
        return (fractions * full).amax(dim=-1).clamp(min=self.fog_level)

    def outside(self, points: Tensor) -> Tensor:
        """Return how far points (n, 3) are outside each of b balls, (n, b); negative inside."""
        centres = points.new_tensor([ball.centre for ball in self.balls])
        return torch.cdist(points, centres) - points.new_tensor([ball.radius for ball in self.balls])


@final
class VolumeField(AbstractField):
    """Given densities (n, n, n) on a lattice over the cube, indexed [z, y, x], trilinear between; grey."""

    def __init__(self, volume: Tensor, grey: float = 0.5) -> None:
        super().__init__()
        self.volume = nn.Parameter(volume)
        self.grey = grey

    def evaluator(self) -> Evaluator:
        def evaluate(query: Query) -> FieldValues:
            return FieldValues(self.density(query.points), torch.full_like(query.points, self.grey))

        return evaluate

    def density_volume(self, cells: int) -> Tensor:
        return self.density(lattice(cells)).reshape(cells + 1, cells + 1, cells + 1)

    def density(self, points: Tensor) -> Tensor:
        """Return the densities (n,) of points (n, 3)."""
        where = points[None, None, None]
        return functional.grid_sample(self.volume[None, None], where, align_corners=True)[0, 0, 0, 0]


def sphere(radius: float, **rest: float) -> BallsField:
    """Return the field of one ball in the middle; `rest` are the edge and the fog level."""
    return BallsField([Ball(radius)], **rest)


def lines(origins: Tensor, directions: Tensor) -> Rays:
    """Return rays (n, 3), (n, 3) without width."""
    return Rays(origins, directions, torch.zeros_like(origins[:, 0]))


def lattice(cells: int) -> Tensor:
    """Return the nodes ((cells+1)^3, 3) of an even lattice over the cube, x fastest."""
    axis = torch.linspace(-1.0, 1.0, cells + 1)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x, y, z], dim=-1).reshape(-1, 3)


def seeded(seed: int = 0) -> torch.Generator:
    """Return a generator of the CPU."""
    return torch.Generator().manual_seed(seed)


def random_voxels(settings: VoxelSettings = SMALL, spread: float = 0.5, seed: int = 0) -> VoxelField:
    """Return a voxel field of normal grid values."""
    field, generator = VoxelField(settings), seeded(seed)
    with torch.no_grad():
        for grid in field.grids:
            grid.copy_(spread * torch.randn(grid.shape, generator=generator))
    return field
