"""One colour everywhere.

Textured backgrounds alone teach a guidance to look for what stands out from a texture. Classifiers, and people, name an
object on a plain background more surely when it was also trained on some.
"""

import torch
from torch import Tensor

from dreamfields.render.settings import BackgroundSettings


def draw(settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    """Return one random colour everywhere."""
    return torch.rand((3, 1, 1), generator=generator).repeat(1, size, size)
