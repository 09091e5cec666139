"""The terms of the loss, one function a term; all are minimised.

Notation: scores (b,) of b pictures in [-1, 1]; opacity (v, 1, h, w) of v views in [0, 1]; T = 1 - opacity.
"""

from torch import Tensor


def guidance_loss(scores: Tensor) -> Tensor:
    """Return minus the mean score (Dream Fields eq. 2): ()."""
    return -scores.mean()


def transmittance_loss(opacity: Tensor, target: float) -> Tensor:
    """Return -min(target, mean T) (Dream Fields eq. 4): (); no reward for being emptier than asked."""
    return -(1.0 - opacity.mean()).clamp(max=target)


def total_variation(opacity: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels: ()."""
    rows = (opacity[..., 1:, :] - opacity[..., :-1, :]).abs().mean()
    columns = (opacity[..., 1:] - opacity[..., :-1]).abs().mean()
    return rows + columns


def fog(opacity: Tensor) -> Tensor:
    """Return the mean of 4 o (1 - o) over pixels with opacity o > 0.05: 0 is a clean cut-out, 1 is all haze."""
    seen = (opacity > 0.05).to(opacity)
    return (4.0 * opacity * (1.0 - opacity) * seen).sum() / seen.sum().clamp(min=1.0)
