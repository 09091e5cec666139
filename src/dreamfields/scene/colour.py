"""Colour space: a decorrelated space in which natural colours are isotropic.

The matrix is the square root of the colour covariance of natural photographs that Olah, Mordvintsev and Schubert
(Feature Visualization, Distill 2017) published with Lucid, scaled so that its longest row has unit length. Optimising
in this space makes a step in any direction as likely as it is in photographs: light and dark first, hue second.
"""

import torch
from torch import Tensor

_COVARIANCE_ROOT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def correlation(device: torch.device | None = None) -> Tensor:
    """Return the (3, 3) matrix C that turns decorrelated values into RGB: rgb = C v."""
    root = torch.tensor(_COVARIANCE_ROOT, dtype=torch.float32, device=device)
    longest: Tensor = root.norm(dim=1).max()
    return root / longest


def grey_direction(device: torch.device | None = None) -> Tensor:
    """Return the decorrelated value (3,) that moves red, green and blue alike, by one: C^-1 (1, 1, 1)."""
    direction: Tensor = torch.linalg.solve(correlation(device), torch.ones(3, device=device))
    return direction


def rgb_from_decorrelated(values: Tensor) -> Tensor:
    """Return RGB pre-activations (..., 3) of decorrelated values (..., 3)."""
    return values @ correlation(values.device).T
