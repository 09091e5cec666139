"""The default field: a sum of dense grids.

Level l holds a value (density, 3 decorrelated colours) at each node of a grid of n_l = n_0 2^l cells a side, with the
weight s^l. Coarse levels move whole parts of a shape and fine ones details: smooth shapes where one fine grid is noisy.

Notation: f(x) = sum_l s^l f_l(x), each f_l trilinear in its cells; grids are (4, n+1, n+1, n+1), indexed [z, y, x];
sigma = a softplus(g f_0 + b (1 - 2 |x|) + o); c = sigmoid(k C f_123) with C of `scene.colour`.

As the nodes of each level are also nodes of the next, the sum of trilinear interpolations *equals* one interpolation of
the sum on the finest nodes, which `sum_levels` makes once a step; `interpolate_levels` is the definition.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.scene.colour import grey_direction, rgb_from_decorrelated
from dreamfields.scene.fields.base import AbstractField, Evaluator, FieldValues, lattice
from dreamfields.scene.settings import VoxelSettings

CHANNELS = 4


@final
class VoxelField(AbstractField):
    """A sum of dense grids."""

    grid_cells: int

    def __init__(self, settings: VoxelSettings) -> None:
        """Start as a grey blob in the middle of the cube."""
        super().__init__()
        self.settings = settings
        sides = [settings.coarsest_cells * 2**level + 1 for level in range(settings.levels)]
        # The channels of a node lie side by side in memory, as they are always read together.
        self.grids = nn.ParameterList([nn.Parameter(torch.zeros(n, n, n, CHANNELS)) for n in sides])
        self.grid_cells = sides[-1] - 1

    def levels(self) -> list[Tensor]:
        """Return the grids (4, n+1, n+1, n+1), from coarse to fine."""
        return [grid.permute(3, 0, 1, 2) for grid in self.grids]

    def sum_levels(self) -> Tensor:
        """Return the weighted sum of all levels on the finest nodes: (4, n+1, n+1, n+1)."""
        return sum_levels(self.levels(), self.settings.level_scale)

    def evaluator(self) -> Evaluator:
        """Return an evaluator over the sum of the grids."""
        grid = self.sum_levels()
        return lambda query: decode(interpolate(grid, query.points), query.points, self.settings)

    def density_volume(self, cells: int) -> Tensor:
        """Return densities on an even lattice of cells+1 nodes a side, indexed [z, y, x]."""
        grid = sum_levels([level[:1] for level in self.levels()], self.settings.level_scale)
        return density_on_lattice(grid[0], cells, self.settings)


@final
class VoxelNodes(AbstractField):
    """Fixed values on nodes: a snapshot of a voxel field, or one derived from it."""

    def __init__(self, nodes: Tensor, settings: VoxelSettings) -> None:
        """Take the values (n+1, n+1, n+1, 4) of the nodes of n cells a side, indexed [z, y, x]."""
        super().__init__()
        self.register_buffer("nodes", nodes)
        self.nodes: Tensor
        self.settings, self.grid_cells = settings, len(nodes) - 1

    def evaluator(self) -> Evaluator:
        """Return an evaluator over the nodes."""
        grid = self.nodes.permute(3, 0, 1, 2)
        return lambda query: decode(interpolate(grid, query.points), query.points, self.settings)

    def density_volume(self, cells: int) -> Tensor:
        """Return densities on an even lattice of cells+1 nodes a side, indexed [z, y, x]."""
        return density_on_lattice(self.nodes[..., 0], cells, self.settings)


def density_on_lattice(values: Tensor, cells: int, settings: VoxelSettings) -> Tensor:
    """Return densities on an even lattice of cells+1 nodes a side of density values (n+1, n+1, n+1) on nodes."""
    points = lattice(cells, values.device).points
    # On the lattice of its own nodes there is nothing to interpolate.
    at_points = values.reshape(-1) if len(values) == cells + 1 else interpolate(values[None], points)[:, 0]
    return density_from_values(at_points, points, settings).reshape(cells + 1, cells + 1, cells + 1)


def sum_levels(grids: list[Tensor], level_scale: float) -> Tensor:
    """Return sum_l s^l f_l on the nodes of the last grid, from coarse to fine grids (4, n_l+1, n_l+1, n_l+1)."""
    # Not by Horner's rule: from coarse to fine it needs powers of 1 / s, and s may be 0.
    total = grids[0]
    for level, grid in enumerate(grids[1:], start=1):
        size = list(grid.shape[1:])
        total = functional.interpolate(total[None], size=size, mode="trilinear", align_corners=True)[0]
        total = total + level_scale**level * grid
    return total


def interpolate(grid: Tensor, points: Tensor) -> Tensor:
    """Return the trilinear interpolation (n, c) of a grid (c, k, k, k), indexed [z, y, x], at points (n, 3)."""
    # On a CPU, torch spreads 3-D samples over threads by batch alone, so there is one batch a thread.
    batches = torch.get_num_threads() if grid.device.type == "cpu" else 1
    count = -(-len(points) // batches)
    padded = functional.pad(points, (0, 0, 0, batches * count - len(points))).reshape(batches, 1, 1, count, 3)
    grids = grid.expand(batches, -1, -1, -1, -1)
    values = functional.grid_sample(grids, padded, mode="bilinear", padding_mode="border", align_corners=True)
    return values.movedim(1, -1).reshape(batches * count, grid.shape[0])[: len(points)]


def interpolate_levels(grids: list[Tensor], level_scale: float, points: Tensor) -> Tensor:
    """Return f(x) = sum_l s^l f_l(x), (n, 4), level by level: the definition that `sum_levels` must equal."""
    terms = [level_scale**level * interpolate(grid, points) for level, grid in enumerate(grids)]
    return torch.stack(terms).sum(dim=0)


def density_from_values(value: Tensor, points: Tensor, settings: VoxelSettings) -> Tensor:
    """Return sigma = a softplus(g f + b (1 - 2 |x|) + o), (n,), of grid values (n,) at points (n, 3)."""
    return settings.density_scale * functional.softplus(settings.density_gain * value + blob(points, settings))


def blob(points: Tensor, settings: VoxelSettings) -> Tensor:
    """Return b (1 - 2 |x|) + o, (n,), what an empty field adds before the softplus at points (n, 3)."""
    x, y, z = points.unbind(dim=-1)
    radius = (x * x + y * y + z * z).sqrt()  # In a third of the time of `norm`
    return settings.blob_strength * (1.0 - 2.0 * radius) + settings.blob_offset


def colour_from_values(values: Tensor, settings: VoxelSettings) -> Tensor:
    """Return c = sigmoid(k C v), (n, 3), of decorrelated values (n, 3)."""
    return torch.sigmoid(settings.colour_gain * rgb_from_decorrelated(values))


def values_from_grey(shade: Tensor, settings: VoxelSettings) -> Tensor:
    """Return the decorrelated values v = C^-1 logit(c) / k, (..., 3), of shades of grey c (...) in (0, 1)."""
    return torch.logit(shade)[..., None] * (grey_direction(shade.device) / settings.colour_gain)


def decode(values: Tensor, points: Tensor, settings: VoxelSettings) -> FieldValues:
    """Return density and colour of interpolated grid values (n, 4) at points (n, 3)."""
    density = density_from_values(values[:, 0], points, settings)
    return FieldValues(density, colour_from_values(values[:, 1:], settings))
