"""What a field begins as, and the pull towards it that ends by mid-run."""

import math
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from dreamfields.optimize import schedules
from dreamfields.optimize.settings import InitSettings, Recipe
from dreamfields.reprs import short_repr
from dreamfields.scene.coarse import CoarseObject, missing_density, shadow
from dreamfields.scene.fields import FIELDS
from dreamfields.scene.fields.base import AbstractField, lattice

_CELLS: Final = 16  # Cells a side of the lattice on which density is missed
_ROOM: Final = 1.3  # Area that an object may cover over that which it begins with
_THICKNESS: Final = 2.0 / _CELLS  # Of a piece of it, in scene units


@dataclass(frozen=True)
class Begun:
    """What a start adds to the loss of a step."""

    pull: Tensor  # (); see `Start.pull`
    transmittance: float  # Target of the mean transmittance that leaves room for the object

    __repr__ = short_repr


@final
@dataclass(frozen=True)
class Start:
    """A coarse object that a run starts from; its colours are `InitSettings.colour` of the way from grey."""

    coarse: CoarseObject

    __repr__ = short_repr

    def to(self, device: torch.device) -> "Start":
        """Return the same start on a device."""
        return Start(CoarseObject(self.coarse.occupancy.to(device), self.coarse.colours.to(device)))

    def make_field(self, recipe: Recipe, generator: torch.Generator) -> AbstractField:
        """Return a new field on the CPU that is the coarse object; a network's weights come from the generator."""
        coarse = self.to(torch.device("cpu")).coarse
        coarse = CoarseObject(coarse.occupancy, greyed(coarse.colours, recipe.init))
        return FIELDS[recipe.field].make_from(recipe, generator, coarse, recipe.init.extent)

    def pull(self, field: AbstractField, settings: InitSettings, progress: float) -> Tensor:
        """Return what the loss gains, (), where the field lacks density inside the object.

        The surface's surroundings, where the occupancy is about one half, hardly count, so details may differ
        (Latent-NeRF's band). It falls linearly to 0 at the fraction `until` of the steps.
        """
        factor = settings.weight * (1.0 - schedules.ramp(progress, 0.0, settings.until))
        if factor == 0.0:
            return self.coarse.occupancy.new_zeros(())
        points = lattice(_CELLS, self.coarse.occupancy.device).points
        inside = (2.0 * self.coarse.occupancy_at(points, settings.extent) - 1.0).clamp(min=0.0)
        density = field.density_volume(_CELLS).reshape(-1)
        return factor * missing_density(density, inside, _THICKNESS)

    def transmittance(self, recipe: Recipe) -> float:
        """Return the mean transmittance of views in which the object covers `_ROOM` times what it does at the start.

        Something that is there already need not be found in an opaque cube, and what is thin would otherwise be filled
        up with fog. It is never less than the target at the end.
        """
        middle = 0.5 * sum(recipe.cameras.fov_deg)
        half_side = recipe.cameras.radius * math.tan(math.radians(0.5 * middle))
        covered = min(shadow(self.coarse) * (recipe.init.extent / half_side) ** 2, 1.0)
        return max(1.0 - _ROOM * covered, recipe.losses.transmittance_end)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {"occupancy": self.coarse.occupancy, "colours": self.coarse.colours}


def greyed(colours: Tensor, settings: InitSettings) -> Tensor:
    """Return colours (..., 3) with their differences from middle grey multiplied by `InitSettings.colour`."""
    return torch.lerp(torch.full_like(colours, 0.5), colours, settings.colour)
