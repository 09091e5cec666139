"""The colour of a surface: what a ray that looks straight down at it would see."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamfields.errors import DegenerateError
from dreamfields.render import volume as equations
from dreamfields.scene.fields.base import AbstractField, Evaluator, Query

COLOUR_STEPS: Final = 6
"""Samples below the surface, half a cell apart, that make up a vertex's colour: three cells hide what lies deeper."""


def surface_colours(field: AbstractField, points: Tensor, normals: Tensor, spacing: float) -> NDArray[np.uint8]:
    """Return sRGB colours (v, 3) of surface points (v, 3) with outward unit normals (v, 3).

    Raises:
        DegenerateError: a colour is not finite.
    """
    batch_size = 16_384  # bounds the memory of a field that is a network
    with torch.no_grad():
        evaluator = field.evaluator()
        parts = [
            _colours_below(evaluator, points[start : start + batch_size], normals[start : start + batch_size], spacing)
            for start in range(0, len(points), batch_size)
        ]
    colours = torch.cat(parts)
    if not torch.isfinite(colours).all():
        raise DegenerateError("the field holds colours that are not finite; resume from an earlier checkpoint")
    return (colours.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()


def _colours_below(evaluator: Evaluator, points: Tensor, normals: Tensor, spacing: float) -> Tensor:
    """Return the colours (v, 3) that rays into the surface gather over their first `COLOUR_STEPS` half cells."""
    step = 0.5 * spacing
    depths = step * (torch.arange(COLOUR_STEPS, device=points.device) + 0.5)
    below = (points[:, None] - depths[:, None] * normals[:, None]).clamp(-1.0, 1.0)
    directions = (-normals[:, None]).expand_as(below)
    lengths = torch.full(below.shape[:2], step, device=points.device)
    # As wide as long: what a field with a sense of scale shows of half a cell, from whatever side.
    flat = lengths.reshape(-1)
    values = evaluator(Query(below.reshape(-1, 3), directions.reshape(-1, 3), lengths=flat, radii=flat))
    # A trace of every sample, for spikes so thin that the ray finds nothing below them.
    weights = equations.weights_from_density(values.density.reshape(lengths.shape), lengths) + 1e-6
    colours = equations.colour_from_weights(weights, values.colour.reshape(*lengths.shape, 3))
    # The share of light that passes all samples is given to them in proportion, or thin parts would turn dark.
    return colours / equations.opacity_from_weights(weights)[:, None]
