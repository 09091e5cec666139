"""Textureless views: white surfaces with shading, so that only geometry affects the score.

DreamFusion (Poole et al., ICLR 2023, sec. 3.1) renders some of its views so. Here some steps render all views
textureless; with a geometry prompt every step instead renders one more view, which that prompt scores. Colours, and
weights that affect colours only, get no gradient from textureless views.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Generator, Tensor

from dreamfields.optimize.randomness import StepContext
from dreamfields.render.renderer import Rendering, render_jittered
from dreamfields.render.settings import RenderSettings
from dreamfields.render.shading import light_beside, textureless_fields
from dreamfields.reprs import short_repr
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField

_LIGHT_OFFSET_DEG: Final = 60.0  # Largest azimuth between a light and its camera, to either side


@dataclass(frozen=True)
class TexturelessView:
    """One textureless view."""

    rendering: Rendering  # (1, ...)
    azimuth_deg: float  # Azimuth of its camera

    __repr__ = short_repr


def is_textureless_step(context: StepContext) -> bool:
    """Draw whether a step renders its views textureless."""
    settings = context.recipe.render
    # The names of the two streams here are older than the vocabulary; another name would draw other numbers.
    drawn = float(torch.rand((), generator=context.generator("shown in plaster")))
    return context.progress >= settings.textureless_from and drawn < settings.textureless


def render_textureless_view(
    field: AbstractField, cameras: Sequence[Camera], occupancy: Tensor | None, context: StepContext
) -> TexturelessView:
    """Render a textureless view from one of a step's cameras, drawn at random; see `render_textureless`."""
    generator = context.generator("plaster")
    camera = cameras[int(torch.randint(len(cameras), (), generator=generator))]
    rendering = render_textureless(field, [camera], context.recipe.render, occupancy, generator)
    return TexturelessView(rendering, camera.azimuth_deg)


def render_textureless(
    field: AbstractField,
    cameras: Sequence[Camera],
    settings: RenderSettings,
    occupancy: Tensor | None,
    generator: Generator,
) -> Rendering:
    """Render b textureless views (b, ...), each with a light at a random azimuth beside its camera.

    Samples are restricted to the occupied cells, bool (k, k, k); None samples everywhere.
    """
    turns = [_LIGHT_OFFSET_DEG * (2.0 * float(torch.rand((), generator=generator)) - 1.0) for _ in cameras]
    lights = [light_beside(camera.azimuth_deg, turn_deg=turn) for camera, turn in zip(cameras, turns, strict=True)]
    lit = zip(textureless_fields(field, lights), cameras, strict=True)
    views = [render_jittered(shaded, [camera], settings, occupancy, generator) for shaded, camera in lit]
    colours, opacities, depths = zip(*((view.colour, view.opacity, view.depth) for view in views), strict=True)
    return Rendering(torch.cat(colours), torch.cat(opacities), torch.cat(depths))
