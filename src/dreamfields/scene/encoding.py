"""Fourier features of a point, and their mean over a sample's extent (mip-NeRF's integrated encoding).

Notation: x (n, 3) points and Sigma (n, 3, 3) covariances around them, in scene units; w (m, 3) frequencies in radians a
scene unit, without a factor pi; gamma(x) = (cos w x, sin w x), (n, 2 m). For x normal around mu the mean of gamma is
exp(-w^T Sigma w / 2) gamma(mu): wavelengths shorter than a sample fade instead of aliasing.
"""

from typing import Final, Literal

import torch
from torch import Tensor

SEED: Final = 211201455  # Draws the frequencies of every run: they belong to the parametrisation, not to a run's seed


def draw_frequencies(count: int, max_octave: float, directions: Literal["sphere", "released", "axes"]) -> Tensor:
    """Return the three axes and `count` random frequencies trunc(2^(L u) v), (3 + count, 3), with u uniform in [0, 1].

    Whole numbers give all features the period 2 pi. `sphere` draws v uniformly on the unit sphere, as the paper says;
    `released` normalises over all frequencies of an axis instead of the axes of a frequency, as its code does, so v has
    a length of about sqrt(3 / count) and many frequencies are 0. `axes` draws nothing and returns 2^i along each axis
    for i below L = max_octave, (3 L, 3), as in NeRF and mip-NeRF.
    """
    if directions == "axes":
        return torch.cat([2.0**octave * torch.eye(3) for octave in range(round(max_octave))])
    generator = torch.Generator().manual_seed(SEED)
    normal = torch.randn((count, 3), generator=generator)
    radii = 2.0 ** (max_octave * torch.rand((count, 1), generator=generator))
    axis = -1 if directions == "sphere" else 0
    return torch.cat([torch.eye(3), torch.trunc(radii * normal / normal.norm(dim=axis, keepdim=True))])


def frustum_covariance(directions: Tensor, lengths: Tensor, radii: Tensor) -> Tensor:
    """Return Sigma = l^2 / 12 d d^T + r^2 / 12 (1 - d d^T), (n, 3, 3), of cone segments (released code).

    They have directions d (n, 3), lengths l (n,) and radii r (n,) at their middles; with l = r Sigma is isotropic.
    """
    along = directions[:, :, None] * directions[:, None, :]
    across = torch.eye(3, dtype=along.dtype, device=along.device) - along
    return (lengths.square() / 12.0)[:, None, None] * along + (radii.square() / 12.0)[:, None, None] * across


def variance_along(frequencies: Tensor, covariance: Tensor) -> Tensor:
    """Return w^T Sigma w, (n, m): the variance of each feature's phase."""
    # One product of (n, 9) with (9, m) holds nothing larger than the result; rounding may leave it slightly negative.
    outer = frequencies[:, :, None] * frequencies[:, None, :]
    return (covariance.flatten(1) @ outer.flatten(1).T).clamp(min=0.0)


def attenuation(variance: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Return the factor exp(-variance scale^2 / 2), in [0, 1], of features whose phases spread `scale` times as far."""
    return torch.exp(-0.5 * scale**2 * variance)


def plain_encoding(points: Tensor, frequencies: Tensor) -> Tensor:
    """Return gamma(x) = (cos w x, sin w x), (n, 2 m)."""
    phases = points @ frequencies.T
    return torch.cat([torch.cos(phases), torch.sin(phases)], dim=-1)


def integrated_encoding(points: Tensor, covariance: Tensor, frequencies: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Return the mean of gamma (mip-NeRF eq. 14), (n, 2 m), over normal distributions, `scale` times as wide."""
    factor = attenuation(variance_along(frequencies, covariance), scale)
    return plain_encoding(points, frequencies) * torch.cat([factor, factor], dim=-1)


def footprint_scale(step: int, anneal_steps: int) -> float:
    """Return max(1, 2^(1 - step / anneal_steps)), the factor of a sample's extent; 1 without annealing."""
    return 1.0 if anneal_steps == 0 else max(1.0, 2.0 ** (1.0 - step / anneal_steps))
