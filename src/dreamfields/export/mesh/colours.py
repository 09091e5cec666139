"""The colour of a surface: what a ray along the inward normal gathers."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamfields.errors import DegenerateError
from dreamfields.export.mesh.mesh import Floats
from dreamfields.render import volume as equations
from dreamfields.scene.fields.base import AbstractField, Evaluator, Query

COLOUR_STEPS: Final = 6  # Samples below the surface, half a cell apart: three cells hide what lies deeper


def surface_colours(field: AbstractField, points: Floats, normals: Floats, spacing: float) -> NDArray[np.uint8]:
    """Return sRGB colours (v, 3) of surface points (v, 3) with outward unit normals (v, 3), given the cells' side.

    Raises DegenerateError: a colour is not finite.
    """
    device = next(field.parameters()).device
    rays = torch.as_tensor(np.concatenate([points, normals], axis=1), dtype=torch.float32, device=device)
    with torch.no_grad():
        evaluator = field.evaluator()
        batches = rays.split(16_384)  # bounds the memory of a field that is a network
        colours = torch.cat([_colours_below(evaluator, batch[:, :3], batch[:, 3:], spacing) for batch in batches])
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
    # Samples as wide as long: what a field with anti-aliasing shows of half a cell from any side.
    flat = lengths.reshape(-1)
    values = evaluator(Query(below.reshape(-1, 3), directions.reshape(-1, 3), lengths=flat, radii=flat))
    # A trace of every sample, for spikes so thin that the ray finds nothing below them.
    weights = equations.weights_from_density(values.density.reshape(lengths.shape), lengths) + 1e-6
    colours = equations.colour_from_weights(weights, values.colour.reshape(*lengths.shape, 3))
    # Weights are normalised by the opacity, or thin parts would turn dark.
    return colours / equations.opacity_from_weights(weights)[:, None]
