"""Pixel noise."""

import torch
from torch import Tensor

from dreamfields.render.settings import BackgroundSettings


def draw(settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    """Return independent uniform pixels; the paper's text says Gaussian, its code draws uniform noise."""
    return torch.rand((3, size, size), generator=generator)
