"""What a geometry prompt is scored on: one of a step's views in white plaster, where the shape alone can answer.

DreamFusion (Poole et al., ICLR 2023, sec. 3.1) renders some of its views so. Colours have no part in it: neither they
nor what shapes them alone get a gradient from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dreamfields.optimize.randomness import generator
from dreamfields.render.renderer import Rendering, render
from dreamfields.render.sampling import draw_jitter
from dreamfields.render.settings import RenderSettings
from dreamfields.render.shading import ShadedField, light_beside
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField

_CELLS: Final = 64
"""The most cells a side of the lattice that normals are found on: those of the default field's finest grid."""
_TURN_DEG: Final = 60.0
"""Farthest that the light stands beside the camera, either way."""


@dataclass(frozen=True)
class Plaster:
    """One view of the shape."""

    rendering: Rendering
    """(1, ...)."""
    azimuth_deg: float
    """Where it is taken from."""


def look_at_plaster(
    field: AbstractField,
    cameras: Sequence[Camera],
    settings: RenderSettings,
    occupancy: Tensor | None,
    seed: int,
    step: int,
) -> Plaster:
    """Render a field from one of a step's cameras without its colours, differentiably with respect to its density.

    The camera and where the light stands beside it are drawn, from the seed and the step alone.

    Args:
        field: what is there.
        cameras: those of the step.
        settings: how views are rendered.
        occupancy: cells that may hold density, bool (k, k, k); None samples everywhere.
        seed: of the attempt.
        step: its number.
    """
    draws = generator(seed, "plaster", step)
    camera = cameras[int(torch.randint(len(cameras), (), generator=draws))]
    turn_deg = _TURN_DEG * (2.0 * float(torch.rand((), generator=draws)) - 1.0)
    cells = min(field.grid_cells or _CELLS, _CELLS)
    shaded = ShadedField(field, light_beside(camera.azimuth_deg, turn_deg=turn_deg), cells, learns=True)
    rendering = render(
        shaded,
        [camera],
        settings.size,
        settings.samples,
        occupancy=occupancy,
        jitter=draw_jitter(settings.size**2, settings.samples, settings.jitter, draws),
        termination=settings.termination,
    )
    return Plaster(rendering, camera.azimuth_deg)
