"""Black, which stands for no background in the paper's table 1."""

import torch
from torch import Tensor

from dreamfields.render.settings import BackgroundSettings


def draw(settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    """Return black."""
    return torch.zeros(3, size, size)
