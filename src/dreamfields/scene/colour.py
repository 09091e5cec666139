"""A decorrelated colour space, in which an update changes brightness more than hue, as photographs vary.

The matrix is the square root of the colour covariance of natural photographs (Olah, Mordvintsev and Schubert, Feature
Visualization, Distill 2017, as in Lucid), scaled so that its longest row has unit length.
"""

import torch
from torch import Tensor

_COVARIANCE_ROOT = torch.tensor(((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03)))
_CORRELATION: Tensor = _COVARIANCE_ROOT / _COVARIANCE_ROOT.norm(dim=1).max()


def correlation(device: torch.device | None = None) -> Tensor:
    """Return the (3, 3) matrix C that maps decorrelated values v to RGB, C v."""
    return _CORRELATION.to(device)


def grey_direction(device: torch.device | None = None) -> Tensor:
    """Return C^-1 (1, 1, 1), (3,), which raises red, green and blue by 1."""
    return decorrelated_from_rgb(torch.ones(3, device=device))


def rgb_from_decorrelated(values: Tensor) -> Tensor:
    """Return RGB pre-activations (..., 3) of decorrelated values (..., 3)."""
    return values @ correlation(values.device).T


def decorrelated_from_rgb(values: Tensor) -> Tensor:
    """Return the decorrelated values (..., 3) of RGB pre-activations (..., 3)."""
    found: Tensor = torch.linalg.solve(correlation(values.device), values.reshape(-1, 3).T).T.reshape(values.shape)
    return found
