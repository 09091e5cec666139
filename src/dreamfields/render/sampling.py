"""The stretches of rays that are sampled, and the distances along them at which a field is asked.

Notation: near, far (n,) distances at which a ray enters and leaves the cube; edges (n, s+1) of s equal bins between
them; t (n, s) one distance in each bin; delta (n, s) the lengths of the bins, in scene units.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfields.render.occupancy import occupied_box
from dreamfields.scene.rays import Rays, intersect_box, intersect_cube


@dataclass(frozen=True)
class Spans:
    """The stretches inside a box of those m of n rays that hit it."""

    total: int
    """All rays, n."""
    hits: Tensor
    """(m,) which rays hit, in their order."""
    rays: Rays
    """The m rays."""
    near: Tensor
    """(m,) where they enter."""
    far: Tensor
    """(m,) where they leave."""

    def __len__(self) -> int:
        """Return the number of rays that hit, m."""
        return len(self.hits)

    def put_back(self, pixels: Tensor) -> Tensor:
        """Return what the m rays see, (m, c), among all rays, (n, c); those that missed see nothing."""
        empty = torch.zeros(self.total, pixels.shape[1], dtype=pixels.dtype, device=pixels.device)
        return empty.index_copy(0, self.hits, pixels)


def find_spans(rays: Rays, occupancy: Tensor | None, bounded: bool = True) -> Spans:
    """Find where rays cross the box around the occupied cells, or without an occupancy the scene cube.

    Unbounded rays all have the same stretch, that of the ball around the cube for a ray through its middle.
    """
    if not bounded:
        middle = rays.origins.norm(dim=-1)
        every = torch.arange(len(rays), device=middle.device)
        return Spans(len(rays), every, rays, (middle - math.sqrt(3.0)).clamp(min=0.0), middle + math.sqrt(3.0))
    near, far = intersect_cube(rays) if occupancy is None else intersect_box(rays, *occupied_box(occupancy))
    hits = (far > near).nonzero()[:, 0]
    return Spans(len(rays), hits, rays[hits], near[hits], far[hits])


def bin_edges(near: Tensor, far: Tensor, samples: int) -> Tensor:
    """Cut [near, far] into equal bins and return their edges (n, samples + 1)."""
    fractions = torch.linspace(0.0, 1.0, samples + 1, device=near.device)
    return near[:, None] + (far - near)[:, None] * fractions


def midpoints(edges: Tensor) -> Tensor:
    """Return the middles (n, s) of bins: the sampling of tests and previews, which has no noise."""
    return 0.5 * (edges[:, :-1] + edges[:, 1:])


def stratified(edges: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one distance uniformly from each bin (NeRF eq. 2): (n, s), unbiased for the integral over the ray."""
    lengths = edges[:, 1:] - edges[:, :-1]
    return edges[:, :-1] + lengths * draw_jitter(len(edges), lengths.shape[1], generator).to(edges.device)


def draw_jitter(count: int, samples: int, generator: torch.Generator) -> Tensor:
    """Draw the shares of their bins, in [0, 1), at which the samples of the rays lie: (count, samples).

    Drawn on the CPU whatever the device, so a seed means the same numbers everywhere.
    """
    return torch.rand((count, samples), generator=generator)
