"""Checkerboards."""

import torch
from torch import Tensor

from dreamfields.render.settings import BackgroundSettings


def draw(settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    """Return a checkerboard of `checkerboard_squares` squares a side in two random colours."""
    one, other = torch.rand((2, 3, 1, 1), generator=generator)
    odd = torch.arange(size) * settings.checkerboard_squares // size % 2
    return torch.where(odd[:, None] == odd, one, other)
