"""The volume-rendering equations (Max 1995; NeRF eq. 3; Dream Fields eq. 1), one function an equation.

Notation, along the last axis for the s samples of a ray, front to back: sigma (n, s) densities, delta (n, s) lengths
of the segments, alpha (n, s) opacities of the segments, T (n, s) transmittances from the camera to the start of each
segment, w (n, s) weights, t (n, s) distances, c (n, s, 3) colours. A ray's weights and its last transmittance sum to 1.
"""

import torch
from torch import Tensor
from torch.nn import functional


def alpha_from_density(density: Tensor, lengths: Tensor) -> Tensor:
    """Return alpha = 1 - exp(-sigma delta), (n, s) in [0, 1], without cancellation for thin segments."""
    return -torch.expm1(-density * lengths)


def transmittance_from_density(density: Tensor, lengths: Tensor) -> Tensor:
    """Return T_i = exp(-sum_{j<i} sigma_j delta_j), (n, s) in [0, 1]: light that reaches segment i.

    Summing optical depths before the exponential keeps values and gradients finite for any density, where a product
    of (1 - alpha) would divide by zero in its gradient behind an opaque segment. The sum leaves the own segment out
    from the start: adding and subtracting a huge depth would wipe out the small ones in front of it.
    """
    depths_before = functional.pad((density * lengths)[..., :-1], (1, 0))
    return torch.exp(-torch.cumsum(depths_before, dim=-1))


def weights_from_density(density: Tensor, lengths: Tensor, termination: float = 0.0) -> Tensor:
    """Return w = T alpha, (n, s): the share of a ray's light that comes from each segment.

    A ray ends where no more light than `termination` is left: weights behind that are 0, as for a wall of no colour.
    """
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
