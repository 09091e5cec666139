"""Textureless shading: what an object looks like in white plaster (DreamFusion sec. 3.1).

Notation: a = 1 - exp(-sigma h) the opacity of a lattice cell of side h, averaged with its neighbours';
n = -grad a / |grad a| the outward normal; l the unit direction to the light; colour = ambient + diffuse max(0, n l) in
red, green and blue alike.
"""

import math
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.render.volume import alpha_from_density
from dreamfields.scene.fields.base import AbstractField, Evaluator, FieldValues, Query
from dreamfields.scene.fields.voxels import interpolate

AMBIENT: Final = 0.1
"""Light from everywhere; DreamFusion's."""
DIFFUSE: Final = 0.9
"""Light from the lamp; DreamFusion's."""
CELLS: Final = 96
"""Cells a side of the lattice that normals are found on."""
_FLATTEST: Final = {False: 1e-12, True: 1e-2}
"""Length of grad a, per cell, below which a normal is shorter than 1. Where a shape learns from its shades, what is
nearly flat would turn with the slightest change, and its gradient be without bounds."""


@final
class ShadedField(AbstractField):
    """A field's shape without its colours, lit from one side."""

    def __init__(
        self, field: AbstractField, light: tuple[float, float, float], cells: int = CELLS, learns: bool = False
    ) -> None:
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
        self.light = functional.normalize(torch.tensor(light), dim=0)
        self.flattest = _FLATTEST[learns]
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            # Of the opacity, which is flat within an object; its density is not, and would speckle it.
            opacity = alpha_from_density(field.density_volume(cells), torch.tensor(2.0 / cells))
            smooth = functional.avg_pool3d(opacity[None], 3, stride=1, padding=1, count_include_pad=False)[0]
            along_z, along_y, along_x = torch.gradient(smooth)
            self.normals = -torch.stack([along_x, along_y, along_z])

    def evaluator(self) -> Evaluator:
        """Return an evaluator with the field's densities and shades of grey."""
        inner = self.field.evaluator()

        def evaluate(query: Query) -> FieldValues:
            normals = functional.normalize(interpolate(self.normals, query.points), dim=-1, eps=self.flattest)
            shade = AMBIENT + DIFFUSE * (normals @ self.light.to(normals.device)).clamp(min=0.0)
            return FieldValues(inner(query).density, shade[:, None].expand(-1, 3))

        return evaluate

    def density_volume(self, cells: int) -> Tensor:
        """Return the field's."""
        return self.field.density_volume(cells)


def light_beside(azimuth_deg: float, elevation_deg: float = 60.0, turn_deg: float = 40.0) -> tuple[float, float, float]:
    """Return the direction to a light above a camera and beside it, so that not all is lit from the front."""
    azimuth, elevation = math.radians(azimuth_deg + turn_deg), math.radians(elevation_deg)
    horizontal = math.cos(elevation)
    return horizontal * math.sin(azimuth), math.sin(elevation), horizontal * math.cos(azimuth)
