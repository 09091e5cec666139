"""Backgrounds behind training views, one file a kind (Dream Fields sec. 3.3, appendix).

A field that renders its own background is found out when the background behind it changes. A kind is a module here that
has the name of its weight in `BackgroundSettings` and one function, `draw(settings, size, generator)`, which returns
one image (3, size, size) in [0, 1] and takes all its randomness from the generator, on the CPU.
"""

from importlib import import_module

import torch
from torch import Tensor

from dreamfields.render.blur import gaussian_blur
from dreamfields.render.settings import BackgroundSettings


def draw_backgrounds(
    settings: BackgroundSettings, count: int, size: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw the kind of each background by its weight and blur it by a random amount: (count, 3, size, size) in [0, 1].

    The images are drawn on the CPU, so that a seed means the same everywhere, and blurred on the device.
    """
    kinds, weights = zip(*settings.weights().items(), strict=True)
    chances = torch.tensor(weights, dtype=torch.float32)
    chosen = torch.multinomial(chances, count, replacement=True, generator=generator).tolist()
    low, high = settings.blur
    deviations = size * (low + (high - low) * torch.rand(count, generator=generator))
    modules = [import_module(f"{__name__}.{kinds[kind]}") for kind in chosen]
    sharp = torch.stack([module.draw(settings, size, generator) for module in modules])
    return gaussian_blur(sharp.to(device), deviations, round(size * settings.blur_reach))
