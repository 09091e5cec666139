"""Views in white plaster, where the shape alone can answer for what the prompt says.

DreamFusion (Poole et al., ICLR 2023, sec. 3.1) renders some of its views so: what is only painted on scores nothing in
them. Some steps show all of their views so, to the prompt; a geometry prompt is shown one more view so in every step
instead. Colours have no part in it: neither they nor what shapes them alone get a gradient from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dreamfields.optimize.randomness import generator
from dreamfields.render.renderer import Rendering, render_jittered
from dreamfields.render.settings import RenderSettings
from dreamfields.render.shading import light_beside, textureless_fields
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField

_TURN_DEG: Final = 60.0
"""Farthest that a light stands beside its camera, either way."""


@dataclass(frozen=True)
class TexturelessView:
    """One view of the shape."""

    rendering: Rendering
    """(1, ...)."""
    azimuth_deg: float
    """Where it is taken from."""


def is_textureless_step(settings: RenderSettings, progress: float, seed: int, step: int) -> bool:
    """Draw whether a step shows its views in plaster, from the seed and the step alone."""
    drawn = float(torch.rand((), generator=generator(seed, "shown in plaster", step)))
    return progress >= settings.textureless_from and drawn < settings.textureless


def render_textureless_view(
    field: AbstractField,
    cameras: Sequence[Camera],
    settings: RenderSettings,
    occupancy: Tensor | None,
    seed: int,
    step: int,
) -> TexturelessView:
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
    return TexturelessView(render_textureless(field, [camera], settings, occupancy, draws), camera.azimuth_deg)


def render_textureless(
    field: AbstractField,
    cameras: Sequence[Camera],
    settings: RenderSettings,
    occupancy: Tensor | None,
    draws: torch.Generator,
) -> Rendering:
    """Render a field from several cameras without its colours, each with a light of its own: (b, ...).

    Where the lights stand beside their cameras is drawn.
    """
    turns = [_TURN_DEG * (2.0 * float(torch.rand((), generator=draws)) - 1.0) for _ in cameras]
    lights = [light_beside(camera.azimuth_deg, turn_deg=turn) for camera, turn in zip(cameras, turns, strict=True)]
    views = [
        render_jittered(shape, [camera], settings, occupancy, draws)
        for shape, camera in zip(textureless_fields(field, lights), cameras, strict=True)
    ]
    return Rendering(
        torch.cat([view.colour for view in views]),
        torch.cat([view.opacity for view in views]),
        torch.cat([view.depth for view in views]),
    )
