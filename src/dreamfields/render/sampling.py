"""Where rays are sampled.

Notation: near, far (n,) distances at which a ray enters and leaves the sampled box, equal where it misses; edges
(n, s+1) of s equal bins between them; u (n, s) or (n, 1) in [0, 1) the place of a sample in its bin; t (n, s) one
distance in each bin; delta (n, s) the lengths of the bins. All distances are in scene units.
"""

import math

import torch
from torch import Tensor

from dreamfields.render.occupancy import occupied_box
from dreamfields.render.settings import Jitter
from dreamfields.scene.rays import Rays, intersect_box, intersect_cube

MIDDLE = torch.full((1, 1), 0.5)  # u of samples in the middles of their bins, for tests and previews


def find_span(rays: Rays, occupancy: Tensor | None, bounded: bool = True) -> tuple[Tensor, Tensor]:
    """Return near and far of the box around the occupied cells, or without an occupancy of the scene cube: (n,) each.

    Unbounded rays are sampled as far from their origin as the sphere around the cube is for a ray through its centre.
    """
    if not bounded:
        centre = rays.origins.norm(dim=-1)
        return (centre - math.sqrt(3.0)).clamp(min=0.0), centre + math.sqrt(3.0)
    return intersect_cube(rays) if occupancy is None else intersect_box(rays, *occupied_box(occupancy))


def bin_edges(near: Tensor, far: Tensor, samples: int) -> Tensor:
    """Cut [near, far] into equal bins and return their edges (n, samples + 1)."""
    fractions = torch.linspace(0.0, 1.0, samples + 1, device=near.device)
    return near[:, None] + (far - near)[:, None] * fractions


def distances_in(edges: Tensor, jitter: Tensor) -> Tensor:
    """Return t = edge + delta u (NeRF eq. 2), one distance in each bin: (n, s).

    For uniform u the sum over samples is an unbiased estimate of the integral, even with one u for all bins of a ray.
    """
    return edges[:, :-1] + (edges[:, 1:] - edges[:, :-1]) * jitter.to(edges.device)


def draw_jitter(rays: int, samples: int, jitter: Jitter, generator: torch.Generator) -> Tensor:
    """Draw uniform u on the CPU, so that a seed gives the same numbers on any device: (rays, samples) or (rays, 1)."""
    return torch.rand((rays, samples if jitter == "sample" else 1), generator=generator)
