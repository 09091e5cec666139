"""Distances along rays at which a field is sampled.

Notation: near, far (n,) distances at which a ray enters and leaves the cube; edges (n, s+1) of s equal bins between
them; t (n, s) one distance in each bin; delta (n, s) the lengths of the bins, in scene units.
"""

import torch
from torch import Tensor


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
    # Drawn on the CPU whatever the device, so a seed means the same numbers everywhere.
    jitter = torch.rand(lengths.shape, generator=generator).to(edges.device)
    return edges[:, :-1] + lengths * jitter
