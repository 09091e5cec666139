"""Where rays are sampled, and the volume-rendering equations (Max 1995; NeRF eq. 2 and 3; Dream Fields eq. 1).

Notation: near, far (n,) distances at which a ray enters and leaves the sampled box, equal where it misses; edges
(n, s+1) of s equal bins between them, front to back; delta (n, s) their lengths; u (n, s) or (n, 1) in [0, 1) the place
of a sample in its bin; t (n, s) its distance, all in scene units. sigma (n, s) densities, c (n, s, 3) colours, alpha
(n, s) opacities of the bins, T (n, s) transmittances from the camera to the start of each, w (n, s) weights. A ray's
weights and its last transmittance sum to 1.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

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


def alpha_from_density(density: Tensor, lengths: Tensor) -> Tensor:
    """Return alpha = 1 - exp(-sigma delta), (n, s) in [0, 1], without cancellation for thin segments."""
    return -torch.expm1(-density * lengths)


def transmittance_from_density(density: Tensor, lengths: Tensor) -> Tensor:
    """Return T_i = exp(-sum_{j<i} sigma_j delta_j), (n, s) in [0, 1]: light that reaches segment i.

    Summing optical depths before the exponential keeps values and gradients finite for any density; the gradient of a
    product of (1 - alpha) would divide by zero behind an opaque segment. The sum leaves the own segment out from the
    start: adding and subtracting a huge depth would wipe out the small ones in front of it.
    """
    depths_before = functional.pad((density * lengths)[..., :-1], (1, 0))
    return torch.exp(-torch.cumsum(depths_before, dim=-1))


def weights_from_density(density: Tensor, lengths: Tensor, termination: float = 0.0) -> Tensor:
    """Return w = T alpha, (n, s), the part of a ray's light from each segment; 0 behind T = `termination`, its end."""
    transmittance = transmittance_from_density(density, lengths)
    return (transmittance > termination) * transmittance * alpha_from_density(density, lengths)


def opacity_from_weights(weights: Tensor) -> Tensor:
    """Return the opacity sum_i w_i, (n,) in [0, 1]: one minus the transmittance of the whole ray."""
    return weights.sum(dim=-1)


def colour_from_weights(weights: Tensor, colours: Tensor) -> Tensor:
    """Return sum_i w_i c_i, (n, 3): the colour over black, that is premultiplied by opacity."""
    return (weights[..., None] * colours).sum(dim=-2)


def depth_from_weights(weights: Tensor, distances: Tensor) -> Tensor:
    """Return sum_i w_i t_i, (n,): the distance premultiplied by opacity, in scene units."""
    return (weights * distances).sum(dim=-1)


def composite(colour: Tensor, opacity: Tensor, background: Tensor) -> Tensor:
    """Return colour + (1 - opacity) background for premultiplied colour; shapes broadcast over channels."""
    return colour + (1.0 - opacity) * background
