"""Framing: the target and field of view with which an object fills the image from every side."""

import math
from dataclasses import dataclass

import torch

from dreamfields.scene.fields.base import AbstractField

_CELLS = 48
_VISIBLE_DENSITY = 4.0 * math.log(2.0)  # Density at which a quarter of a scene unit lets half of the light through


@dataclass(frozen=True)
class Framing:
    """A point to look at and a field of view."""

    target: tuple[float, float, float] = (0.0, 0.0, 0.0)  # In scene units
    fov_deg: float = 34.0  # Full field of view of a square image, in degrees


def frame(field: AbstractField, distance: float = 4.0, margin: float = 1.1) -> Framing:
    """Return the framing of the dense part of a field, or of the whole scene, seen from a distance in scene units.

    The sphere around the dense nodes, centred in their box, takes 1 / margin of the image's side.
    """
    with torch.no_grad():
        visible = (field.density_volume(_CELLS) >= _VISIBLE_DENSITY).nonzero()
    if len(visible) == 0:
        return Framing()
    points = visible.flip(-1).float() * (2.0 / _CELLS) - 1.0
    centre = 0.5 * (points.amin(dim=0) + points.amax(dim=0))
    radius = float((points - centre).norm(dim=-1).max()) + 1.0 / _CELLS
    half_angle = math.asin(min(radius / distance, 0.99))
    x, y, z = centre.tolist()
    return Framing((x, y, z), math.degrees(2.0 * math.atan(margin * math.tan(half_angle))))
