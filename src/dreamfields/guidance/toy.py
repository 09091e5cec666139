"""A guidance without weights that knows colour words, with which tests of everything above it take seconds.

The joint space is colour, centred on grey, with a small constant as its fourth dimension.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.base import AbstractGuidance, Guide
from dreamfields.guidance.ensemble import Member
from dreamfields.guidance.kinds import JudgeMode
from dreamfields.guidance.settings import GuidanceSettings


@final
class ToyGuidance(AbstractGuidance):
    """Embeds images as their mean colours, and sentences as the mean of the colours they name."""

    name = "toy"

    COLOURS: ClassVar[dict[str, tuple[float, float, float]]] = {
        "red": (1.0, 0.0, 0.0),
        "green": (0.0, 1.0, 0.0),
        "blue": (0.0, 0.0, 1.0),
        "yellow": (1.0, 1.0, 0.0),
        "purple": (0.6, 0.0, 0.8),
        "orange": (1.0, 0.5, 0.0),
        "white": (1.0, 1.0, 1.0),
        "black": (0.0, 0.0, 0.0),
    }
    """Colour words and their RGB values."""

    def __init__(self, image_size: int = 32) -> None:
        """Set the size of the images."""
        super().__init__()
        self.image_size = image_size

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, 4): the centred mean of the colours named, grey where none is, and a constant."""
        named = [[rgb for word, rgb in self.COLOURS.items() if word in text.lower().split()] for text in sentences]
        return torch.cat([_embed(torch.tensor(rgbs or [(0.5, 0.5, 0.5)]).mean(dim=0)[None]) for rgbs in named])

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, 4): the centred mean colour of the middle half of each image, and a constant."""
        quarter = images.shape[-1] // 4
        middle = images[..., quarter : images.shape[-2] - quarter, quarter : images.shape[-1] - quarter]
        return _embed(middle.mean(dim=(2, 3)))


def load_guides(_: Member, settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    """Return one guide for images of the settings' size."""
    return [Guide(ToyGuidance(settings.image_size).to(device))]


def load_judge(_: Member, _mode: JudgeMode, device: torch.device) -> ToyGuidance:
    """Return a judge for tests."""
    return ToyGuidance().to(device)


def _embed(colours: Tensor) -> Tensor:
    """Return unit vectors (b, 4) of colours (b, 3): the constant keeps grey off zero, where there is no direction."""
    constant = torch.full_like(colours[:, :1], 0.1)
    return functional.normalize(torch.cat([colours - 0.5, constant], dim=-1), dim=-1)
