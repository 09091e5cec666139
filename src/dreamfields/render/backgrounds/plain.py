"""One colour everywhere: of textures alone a guidance learns to look for what stands out from a texture."""

import torch
from torch import Tensor

from dreamfields.render.settings import BackgroundSettings


def draw(settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    """Return one random colour everywhere."""
    return torch.rand((3, 1, 1), generator=generator).repeat(1, size, size)
