"""The interface of every radiance field: points in, density and colour out.

Notation: x (n, 3) points in the world, sigma (n,) densities in inverse scene units, c (n, 3) colours in [0, 1].
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dreamfields.reprs import short_repr


@dataclass(frozen=True)
class Query:
    """Points at which a field is evaluated, and the extent of the samples they stand for."""

    points: Tensor  # (n, 3) in scene units, inside the scene cube
    directions: Tensor  # (n, 3) unit directions of the rays through the points
    lengths: Tensor  # (n,) lengths of the ray segments around the points, in scene units
    radii: Tensor  # (n,) radii of the rays' cones at the points, in scene units; 0 for rays without width

    __repr__ = short_repr

    def __len__(self) -> int:
        """Return the number of points."""
        return self.points.shape[0]

    def __getitem__(self, index: slice) -> "Query":
        """Return the query of some of the points."""
        return Query(self.points[index], self.directions[index], self.lengths[index], self.radii[index])


@dataclass(frozen=True)
class FieldValues:
    """A field's values at n points."""

    density: Tensor  # (n,), non-negative, in inverse scene units
    colour: Tensor  # (n, 3) in [0, 1]

    __repr__ = short_repr


Evaluator = Callable[[Query], FieldValues]  # Evaluates one fixed state of a field


class AbstractField(nn.Module, ABC):
    """A radiance field without view direction on the cube [-1, 1]^3 (Dream Fields sec. 3.1)."""

    step: int = 0  # Steps of the optimiser done, from which all annealing follows
    bounded: bool = True  # Whether it ends with the cube; see `FieldKind.unbounded`
    density_noise: Callable[[Tensor], Tensor] | None = None  # Noise for the density's pre-activations, within a step
    grid_cells: int | None = None  # Cells a side of its own grid; None where it has none

    @abstractmethod
    def evaluator(self) -> Evaluator:
        """Compute what all queries share; return a differentiable evaluator, valid until parameters or step change."""

    @abstractmethod
    def density_volume(self, cells: int) -> Tensor:
        """Return densities (cells+1, cells+1, cells+1) on an even lattice over the cube, indexed [z, y, x]."""


def lattice(cells: int, device: torch.device) -> Query:
    """Return the (cells+1)^3 nodes of an even lattice over the cube, x fastest, as samples of its cells' size."""
    axis = torch.linspace(-1.0, 1.0, cells + 1, device=device)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    spacing = torch.full((len(points),), 2.0 / cells, device=device)
    return Query(points, torch.tensor([0.0, 0.0, 1.0], device=device).expand_as(points), spacing, spacing)
