"""The shape of every radiance field: points in, density and colour out.

Notation: x (n, 3) points in the world, sigma (n,) densities in inverse scene units, c (n, 3) colours in [0, 1].
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Query:
    """Points at which a field is asked for its values, with what a field may need to know of the samples there."""

    points: Tensor
    """(n, 3) in scene units, inside the scene cube."""
    directions: Tensor
    """(n, 3) unit directions of the rays the points lie on."""
    lengths: Tensor
    """(n,) lengths of the ray segments the points stand for, in scene units."""


@dataclass(frozen=True)
class FieldValues:
    """What a field says about points."""

    density: Tensor
    """(n,), non-negative, in inverse scene units."""
    colour: Tensor
    """(n, 3) in [0, 1]."""


Evaluator = Callable[[Query], FieldValues]
"""Answers queries about one fixed state of a field."""


class AbstractField(nn.Module, ABC):
    """A radiance field without view direction on the cube [-1, 1]^3 (Dream Fields sec. 3.1)."""

    @abstractmethod
    def evaluator(self) -> Evaluator:
        """Prepare the present state for many queries and return what answers them, differentiably.

        Work that all queries of a rendering share, such as collapsing a pyramid of grids, belongs here. The evaluator
        is stale once the parameters change.
        """

    @abstractmethod
    def density_volume(self, cells: int) -> Tensor:
        """Return densities (cells+1, cells+1, cells+1) on an even lattice over the cube, indexed [z, y, x]."""
