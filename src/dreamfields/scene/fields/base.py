"""The interface of every radiance field: points in, density and colour out.

Notation: x (n, 3) points in the world, sigma (n,) densities in inverse scene units, c (n, 3) colours in [0, 1].
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Query:
    """Points at which a field is evaluated, and the extent of the samples they stand for."""

    points: Tensor  # (n, 3) in scene units, inside the scene cube
    directions: Tensor  # (n, 3) unit directions of the rays through the points
    lengths: Tensor  # (n,) lengths of the ray segments around the points, in scene units
    radii: Tensor  # (n,) radii of the rays' cones at the points, in scene units; 0 for rays without width

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


Evaluator = Callable[[Query], FieldValues]  # Evaluates one fixed state of a field


class AbstractField(nn.Module, ABC):
    """A radiance field without view direction on the cube [-1, 1]^3 (Dream Fields sec. 3.1).

    Attributes:
        step: steps of the optimiser done; all that a field anneals follows from this number.
        bounded: whether it ends with the cube; see `FieldKind.unbounded`.
        density_noise: adds noise to the density's pre-activations (n,); None outside of a step.
        grid_cells: cells a side of its own grid; None where it has none.
    """

    step: int = 0
    bounded: bool = True
    density_noise: Callable[[Tensor], Tensor] | None = None
    grid_cells: int | None = None

    @abstractmethod
    def evaluator(self) -> Evaluator:
        """Return a differentiable evaluator of the present state, stale once parameters or the step change.

        Work that all queries of a rendering share, such as summing a pyramid of grids, belongs here.
        """

    @abstractmethod
    def density_volume(self, cells: int) -> Tensor:
        """Return densities (cells+1, cells+1, cells+1) on an even lattice over the cube, indexed [z, y, x]."""


def lattice(cells: int, device: torch.device) -> Query:
    """Return the nodes of an even lattice over the cube, (cells+1)^3 of them, x fastest.

    A node stands for its cell: as long as the lattice's spacing and as wide, so without a direction of its own.
    """
    axis = torch.linspace(-1.0, 1.0, cells + 1, device=device)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    spacing = torch.full((len(points),), 2.0 / cells, device=device)
    return Query(points, torch.tensor([0.0, 0.0, 1.0], device=device).expand_as(points), spacing, spacing)
