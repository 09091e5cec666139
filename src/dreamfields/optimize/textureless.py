"""Textureless views: shaded in white, so that only the geometry can satisfy a prompt.

DreamFusion (Poole et al., ICLR 2023, sec. 3.1) renders some of its views so. Here some steps show all of their views
textureless to the prompt; a geometry prompt scores one more textureless view in every step instead. Colours, and
weights that only shape colours, get no gradient from such views.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dreamfields.optimize.randomness import StepContext
from dreamfields.render.renderer import Rendering, render_jittered
from dreamfields.render.settings import RenderSettings
from dreamfields.render.shading import light_beside, textureless_fields
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField

_LIGHT_OFFSET_DEG: Final = 60.0  # Largest azimuth between a light and its camera, to either side


@dataclass(frozen=True)
class TexturelessView:
    """One textureless view."""

    rendering: Rendering  # (1, ...)
    azimuth_deg: float  # Azimuth of its camera


def is_textureless_step(context: StepContext) -> bool:
    """Draw whether a step shows its views textureless."""
    settings = context.recipe.render
    drawn = float(torch.rand((), generator=context.generator("shown in plaster")))
    return context.progress >= settings.textureless_from and drawn < settings.textureless


def render_textureless_view(
    field: AbstractField, cameras: Sequence[Camera], occupancy: Tensor | None, context: StepContext
) -> TexturelessView:
    """Render a textureless view from one of a step's cameras, drawn as its light is; see `render_textureless`."""
    generator = context.generator("plaster")
    camera = cameras[int(torch.randint(len(cameras), (), generator=generator))]
    rendering = render_textureless(field, [camera], context.recipe.render, occupancy, generator)
    return TexturelessView(rendering, camera.azimuth_deg)


def render_textureless(
    field: AbstractField,
    cameras: Sequence[Camera],
    settings: RenderSettings,
    occupancy: Tensor | None,
    generator: torch.Generator,
) -> Rendering:
    """Render b textureless views, each with a light drawn beside its camera: (b, ...); differentiable in the density.

    Samples keep to the occupied cells, bool (k, k, k); None samples everywhere.
    """
    offsets = [_LIGHT_OFFSET_DEG * (2.0 * float(torch.rand((), generator=generator)) - 1.0) for _ in cameras]
    lights = [light_beside(camera.azimuth_deg, turn_deg=turn) for camera, turn in zip(cameras, offsets, strict=True)]
    views = [
        render_jittered(shaded, [camera], settings, occupancy, generator)
        for shaded, camera in zip(textureless_fields(field, lights), cameras, strict=True)
    ]
    return Rendering(
        torch.cat([view.colour for view in views]),
        torch.cat([view.opacity for view in views]),
        torch.cat([view.depth for view in views]),
    )
