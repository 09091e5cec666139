"""Backgrounds behind training views, one file a kind (Dream Fields sec. 3.3, appendix).

A field that renders its own background is found out when the background behind it changes. A kind is a module here that
has the name of its weight in `BackgroundSettings` and one function, `draw(settings, size, generator)`, which returns
one image (3, size, size) in [0, 1] and takes all its randomness from the generator, on the CPU.
"""

import math
from importlib import import_module

import torch
from torch import Tensor
from torch.nn import functional

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


def gaussian_blur(images: Tensor, deviations: Tensor, reach: int = 0) -> Tensor:
    """Blur square images (b, c, n, n), each with a Gaussian of its own deviation (b,) in pixels; 0 changes nothing.

    The kernel ends at `reach` pixels, or with 0 at 3 deviations. Border pixels are repeated outwards, so a constant
    image stays constant.
    """
    matrices = _blur_matrices(images.shape[-1], deviations, reach)[:, None].to(images.device)
    return matrices @ images @ matrices.transpose(-1, -2)


def _blur_matrices(size: int, deviations: Tensor, reach: int) -> Tensor:
    """Return the matrices (b, size, size) that blur a column of pixels; faster than a convolution of many taps."""
    cut = reach > 0
    reach = reach or math.ceil(3.0 * float(deviations.max()))
    offsets, spread = torch.arange(-reach, reach + 1), deviations.clamp(min=1e-3)[:, None]
    kernel = torch.exp(-0.5 * (offsets / spread) ** 2)
    if not cut:
        kernel = kernel * (offsets.abs() <= torch.ceil(3.0 * spread))
    kernel = functional.pad(kernel / kernel.sum(dim=-1, keepdim=True), (size - 1, size - 1))
    # Each row holds the same kernel one pixel further on. What lies beyond the border counts as the border pixel.
    wide = kernel.unfold(-1, size + 2 * reach, 1).flip(-2)
    inner = wide[..., reach : reach + size].clone()
    inner[..., 0] += wide[..., :reach].sum(dim=-1)
    inner[..., -1] += wide[..., reach + size :].sum(dim=-1)
    return inner
