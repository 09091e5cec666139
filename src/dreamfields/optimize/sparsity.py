"""What else could keep a scene empty where it is not needed: the other rows of Dream Fields' table 2.

Additive transmittance, which the paper ends up with, is in `losses`. Notation: opacity (v, 1, h, w) of v views in
[0, 1]; T = 1 - opacity; s a pre-activation of density.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dreamfields.optimize.randomness import generator
from dreamfields.scene.fields.base import AbstractField

_FLOOR = 1e-6


def gate(opacity: Tensor, target: float | None) -> Tensor:
    """Return the factor of the guidance's score, (): mean T, or min(target, mean T) where there is a target.

    The paper names this form and gives its scores, not its formula.
    """
    transmittance = 1.0 - opacity.mean()
    return transmittance if target is None else transmittance.clamp(max=target)


def beta_prior(opacity: Tensor) -> Tensor:
    """Return the mean of log(opacity) + log(1 - opacity), each from 1e-6 on (Neural Volumes; released code): ().

    Least where pixels are clear or opaque, most where they are neither.
    """
    return (opacity.clamp(min=_FLOOR).log() + (1.0 - opacity).clamp(min=_FLOOR).log()).mean()


@contextmanager
def disturbed(field: AbstractField, deviation: float, seed: int, step: int) -> Iterator[None]:
    """Add normal noise of a deviation to a network's s within the block; with 0 nothing is drawn or changed."""
    if deviation > 0.0:
        draws = generator(seed, "density", step)
        field.density_noise = lambda s: s + deviation * torch.randn(s.shape, generator=draws).to(s.device)
    try:
        yield
    finally:
        field.density_noise = None
