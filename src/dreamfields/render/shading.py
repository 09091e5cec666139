"""Textureless shading: a field's shape in grey, lit from one side (DreamFusion sec. 3.1).

Notation: a = 1 - exp(-sigma h) the opacity of a lattice cell of side h, averaged with its neighbours'; n = -grad a /
|grad a| the outward normal; l the unit direction to the light; red = green = blue = ambient + diffuse max(0, n l).
"""

import math
from collections.abc import Sequence
from copy import copy
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.render.cpu import fused
from dreamfields.render.volume import alpha_from_density
from dreamfields.scene.fields.base import AbstractField, Evaluator, FieldValues, Query
from dreamfields.scene.fields.voxels import VoxelField, VoxelNodes, density_on_lattice, interpolate, values_from_grey

AMBIENT: Final = 0.1  # Light from all directions, DreamFusion's
DIFFUSE: Final = 0.9  # Light from the lamp, DreamFusion's
CELLS: Final = 96  # Cells a side of the lattice on which normals are computed
_TRAINING_CELLS: Final = 64  # Most such cells in training: those of the default field's finest grid
# Slope |grad a| per cell below which a normal is shortened in training: in nearly even opacity the normal would turn
# with the slightest change, and its gradient have no bound.
_MIN_SLOPE: Final = 1e-2
_MAX_SHADE: Final = 0.98  # Brightest shade on the nodes of a grid: the pre-activation of white is infinite

Vector = tuple[float, float, float]


@final
class ShadedField(AbstractField):
    """The shape of a field without its colours, lit from one side."""

    def __init__(self, field: AbstractField, light: Vector, cells: int = CELLS, learns: bool = False) -> None:
        """Compute normals on a lattice of `cells` a side; with `learns` shades have a gradient, not density alone."""
        super().__init__()
        self.field, self.bounded, self.light = field, field.bounded, unit(light)
        self.min_slope = _MIN_SLOPE if learns else 1e-12
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            self.outward = torch.stack(outward_slopes(field.density_volume(cells)))

    def lit_from(self, light: Vector) -> "ShadedField":
        """Return the same shape and normals under another light."""
        other = copy(self)
        other.light = unit(light)
        return other

    def evaluator(self) -> Evaluator:
        """Return an evaluator of the field's densities and of shades of grey."""
        inner = self.field.evaluator()

        def evaluate(query: Query) -> FieldValues:
            slopes = interpolate(self.outward, query.points).unbind(dim=-1)
            shade = shade_of(slopes, self.light, self.min_slope)
            return FieldValues(inner(query).density, shade[:, None].expand(-1, 3))

        return evaluate

    def density_volume(self, cells: int) -> Tensor:
        """Return that of the field."""
        return self.field.density_volume(cells)


def textureless_fields(field: AbstractField, lights: Sequence[Vector]) -> list[AbstractField]:
    """Return a field's present shape without its colours, once for each light; shades have a gradient.

    Grids are shaded on their own nodes, which renders as fast as colour: the shade is interpolated, not the normal as
    in the `ShadedField` that any other field becomes.
    """
    if not isinstance(field, VoxelField):
        cells = min(field.grid_cells or _TRAINING_CELLS, _TRAINING_CELLS)
        shape = ShadedField(field, lights[0], cells, learns=True)
        return [shape.lit_from(light) for light in lights]
    nodes = fused.sum_levels(field) if fused.usable(field) else field.sum_levels().permute(1, 2, 3, 0)
    slopes = outward_slopes(density_on_lattice(nodes[..., 0], len(nodes) - 1, field.settings))
    shades = (shade_of(slopes, unit(light), _MIN_SLOPE).clamp(max=_MAX_SHADE) for light in lights)
    values = (torch.cat([nodes[..., :1], values_from_grey(shade, field.settings)], dim=-1) for shade in shades)
    return [VoxelNodes(one, field.settings) for one in values]


@torch.no_grad()
def normals_at(field: AbstractField, points: Tensor, cells: int = CELLS) -> Tensor:
    """Return the outward unit normals (n, 3) at points (n, 3) in the cube; 0 where the opacity is even."""
    slopes = torch.stack(outward_slopes(field.density_volume(cells)))
    return functional.normalize(interpolate(slopes, points), dim=-1)


def outward_slopes(density: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return -grad a in x, y and z, (k, k, k) each, of densities (k, k, k) on an even lattice over the cube [z, y, x].

    The slope of the opacity, which is even inside an object; that of the density would speckle it.
    """
    opacity = alpha_from_density(density, torch.tensor(2.0 / (len(density) - 1)))
    along_z, along_y, along_x = torch.gradient(-averaged(opacity))
    return along_x, along_y, along_z


def averaged(values: Tensor) -> Tensor:
    """Return the mean of each of (k, k, k) values and its neighbours, corners included."""
    for axis in range(3):
        size = values.shape[axis]
        pairs = values.narrow(axis, 0, size - 1) + values.narrow(axis, 1, size - 1)
        inner = (pairs.narrow(axis, 0, size - 2) + values.narrow(axis, 2, size - 2)) / 3.0
        values = torch.cat([pairs.narrow(axis, 0, 1) / 2.0, inner, pairs.narrow(axis, size - 2, 1) / 2.0], dim=axis)
    return values


def shade_of(slopes: Sequence[Tensor], light: Sequence[float], min_slope: float) -> Tensor:
    """Return the shade for -grad a in x, y and z; normals of slopes not much above `min_slope` are shorter than 1."""
    x, y, z = slopes
    length = (x * x + y * y + z * z + min_slope**2).sqrt()
    lit = (light[0] * x + light[1] * y + light[2] * z) / length
    return AMBIENT + DIFFUSE * lit.clamp(min=0.0)


def unit(vector: Vector) -> list[float]:
    """Return a vector scaled to length 1."""
    parts: list[float] = functional.normalize(torch.tensor(vector), dim=0).tolist()
    return parts


def light_beside(azimuth_deg: float, elevation_deg: float = 60.0, turn_deg: float = 40.0) -> Vector:
    """Return the direction to a light that is `turn_deg` of azimuth beside a camera, so that shades vary."""
    azimuth, elevation = math.radians(azimuth_deg + turn_deg), math.radians(elevation_deg)
    horizontal = math.cos(elevation)
    return horizontal * math.sin(azimuth), math.sin(elevation), horizontal * math.cos(azimuth)
