"""Textureless shading: what an object looks like in white plaster (DreamFusion sec. 3.1).

Notation: a = 1 - exp(-sigma h) the opacity of a lattice cell of side h, averaged with its neighbours';
n = -grad a / |grad a| the outward normal; l the unit direction to the light; colour = ambient + diffuse max(0, n l) in
red, green and blue alike.
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

AMBIENT: Final = 0.1
"""Light from everywhere; DreamFusion's."""
DIFFUSE: Final = 0.9
"""Light from the lamp; DreamFusion's."""
CELLS: Final = 96
"""Cells a side of the lattice that normals are found on."""
_LEARNING_CELLS: Final = 64
"""The most of them where a shape learns from its shades: those of the default field's finest grid."""
_FLATTEST: Final = 1e-2
"""Length of grad a, per cell, about which a normal is shorter than 1 where a shape learns from its shades: what is
nearly flat would turn with the slightest change, and its gradient be without bounds."""
_BRIGHTEST: Final = 0.98
"""Brightest shade that nodes hold: pre-activations of white are infinite."""

Vector = tuple[float, float, float]


@final
class ShadedField(AbstractField):
    """A field's shape without its colours, lit from one side."""

    def __init__(self, field: AbstractField, light: Vector, cells: int = CELLS, learns: bool = False) -> None:
        """Find the normals of a field as it is now.

        Args:
            field: what is there.
            light: direction to the light, in the world.
            cells: cells a side of the lattice that normals are found on.
            learns: whether the shades have a gradient, for a shape that they are to change; density has one anyway.
        """
        super().__init__()
        self.field = field
        self.bounded = field.bounded
        self.light = unit(light)
        self.flattest = _FLATTEST if learns else 1e-12
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            self.outward = torch.stack(outward_slopes(field.density_volume(cells)))

    def lit_from(self, light: Vector) -> "ShadedField":
        """Return the same shape, its normals shared, with its light elsewhere."""
        other = copy(self)
        other.light = unit(light)
        return other

    def evaluator(self) -> Evaluator:
        """Return an evaluator with the field's densities and shades of grey."""
        inner = self.field.evaluator()

        def evaluate(query: Query) -> FieldValues:
            slopes = interpolate(self.outward, query.points).unbind(dim=-1)
            shade = shade_of(slopes, self.light, self.flattest)
            return FieldValues(inner(query).density, shade[:, None].expand(-1, 3))

        return evaluate

    def density_volume(self, cells: int) -> Tensor:
        """Return the field's."""
        return self.field.density_volume(cells)


def textureless_fields(field: AbstractField, lights: Sequence[Vector]) -> list[AbstractField]:
    """Return a field's shape as it is now without its colours, once for each light, for the shape to learn from.

    Grids are shaded on their own nodes, so that they are rendered as fast as in colour; of anything else this is
    `ShadedField`. The two differ by where they interpolate alone: a shade between nodes, or the normal it is of.
    """
    if not isinstance(field, VoxelField):
        cells = min(field.grid_cells or _LEARNING_CELLS, _LEARNING_CELLS)
        shape = ShadedField(field, lights[0], cells, learns=True)
        return [shape.lit_from(light) for light in lights]
    nodes = fused.sum_levels(field) if fused.usable(field) else field.sum_levels().permute(1, 2, 3, 0)
    density = density_on_lattice(nodes[..., 0], len(nodes) - 1, field.settings)
    slopes = outward_slopes(density)
    shaded: list[AbstractField] = []
    for light in lights:
        shade = shade_of(slopes, unit(light), _FLATTEST).clamp(max=_BRIGHTEST)
        values = torch.cat([nodes[..., :1], values_from_grey(shade, field.settings)], dim=-1)
        shaded.append(VoxelNodes(values, field.settings))
    return shaded


def outward_slopes(density: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return -grad a of densities (k, k, k) on an even lattice over the cube, indexed [z, y, x]: three such, x first.

    Of the opacity, which is flat within an object; its density is not, and would speckle it.
    """
    opacity = alpha_from_density(density, torch.tensor(2.0 / (len(density) - 1)))
    along_z, along_y, along_x = torch.gradient(-averaged(opacity))
    return along_x, along_y, along_z


def averaged(values: Tensor) -> Tensor:
    """Return the mean of each of (k, k, k) values and its neighbours', corners included."""
    for axis in range(3):
        size = values.shape[axis]
        before, after = values.narrow(axis, 0, size - 1), values.narrow(axis, 1, size - 1)
        pairs = before + after
        inner = (pairs.narrow(axis, 0, size - 2) + values.narrow(axis, 2, size - 2)) / 3.0
        values = torch.cat([pairs.narrow(axis, 0, 1) / 2.0, inner, pairs.narrow(axis, size - 2, 1) / 2.0], dim=axis)
    return values


def shade_of(slopes: Sequence[Tensor], light: Sequence[float], flattest: float) -> Tensor:
    """Return ambient + diffuse max(0, n l) for three parts of -grad a of any shape and a unit vector to the light.

    Where the slope is not much above `flattest`, the normal is shorter than 1.
    """
    x, y, z = slopes
    length = (x * x + y * y + z * z + flattest**2).sqrt()
    lit = (light[0] * x + light[1] * y + light[2] * z) / length
    return AMBIENT + DIFFUSE * lit.clamp(min=0.0)


def unit(vector: Vector) -> list[float]:
    """Return a vector at length 1."""
    parts: list[float] = functional.normalize(torch.tensor(vector), dim=0).tolist()
    return parts


def light_beside(azimuth_deg: float, elevation_deg: float = 60.0, turn_deg: float = 40.0) -> Vector:
    """Return the direction to a light above a camera and beside it, so that not all is lit from the front."""
    azimuth, elevation = math.radians(azimuth_deg + turn_deg), math.radians(elevation_deg)
    horizontal = math.cos(elevation)
    return horizontal * math.sin(azimuth), math.sin(elevation), horizontal * math.cos(azimuth)
