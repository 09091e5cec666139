"""The stretches of rays that are sampled, and the distances along them at which a field is asked.

Notation: near, far (n,) distances at which a ray enters and leaves the box around what is occupied, equal where it
misses; edges (n, s+1) of s equal bins between them; u (n, s) or (n, 1) in [0, 1) where in its bin a sample lies; t
(n, s) one distance in each bin; delta (n, s) the lengths of the bins, in scene units.
"""

import math

import torch
from torch import Tensor

from dreamfields.render.occupancy import occupied_box
from dreamfields.render.settings import Jitter
from dreamfields.scene.rays import Rays, intersect_box, intersect_cube

MIDDLE = torch.full((1, 1), 0.5)
"""Jitter that is none: samples lie in the middles of their bins, as tests and previews want them."""


def find_span(rays: Rays, occupancy: Tensor | None, bounded: bool = True) -> tuple[Tensor, Tensor]:
    """Return where rays cross the box around the occupied cells, or without an occupancy the scene cube: near, far.

    Unbounded rays all have the same stretch, that of the ball around the cube for a ray through its middle.
    """
    if not bounded:
        middle = rays.origins.norm(dim=-1)
        return (middle - math.sqrt(3.0)).clamp(min=0.0), middle + math.sqrt(3.0)
    return intersect_cube(rays) if occupancy is None else intersect_box(rays, *occupied_box(occupancy))


def bin_edges(near: Tensor, far: Tensor, samples: int) -> Tensor:
    """Cut [near, far] into equal bins and return their edges (n, samples + 1)."""
    fractions = torch.linspace(0.0, 1.0, samples + 1, device=near.device)
    return near[:, None] + (far - near)[:, None] * fractions


def distances_in(edges: Tensor, jitter: Tensor) -> Tensor:
    """Return one distance in each bin, t = edge + delta u (NeRF eq. 2): (n, s).

    Unbiased for the integral over the ray, for uniform u; one u a ray is enough for that, and keeps samples evenly
    apart.
    """
    return edges[:, :-1] + (edges[:, 1:] - edges[:, :-1]) * jitter.to(edges.device)


def draw_jitter(rays: int, samples: int, jitter: Jitter, generator: torch.Generator) -> Tensor:
    """Draw u uniformly: (rays, samples), or (rays, 1).

    Drawn on the CPU whatever the device, so a seed means the same numbers everywhere.
    """
    return torch.rand((rays, samples if jitter == "sample" else 1), generator=generator)
