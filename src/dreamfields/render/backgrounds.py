"""Backgrounds that stand behind training views (Dream Fields sec. 3.3, appendix).

An object is only an object if it is one in front of anything; a field that paints its own background is found out
when the background changes. Every function draws from the generator it is given and returns (3, size, size) in [0, 1].
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.render.settings import BackgroundSettings
from dreamfields.scene.colour import rgb_from_decorrelated


def uniform_noise(size: int, generator: torch.Generator) -> Tensor:
    """Return independent uniform pixels; the paper says Gaussian, but its code draws uniform noise."""
    return torch.rand((3, size, size), generator=generator)


def checkerboard(size: int, squares: int, generator: torch.Generator) -> Tensor:
    """Return a board of `squares` squares a side in two random colours."""
    colours = torch.rand((2, 3, 1, 1), generator=generator)
    index = torch.arange(size) * squares // size
    dark = ((index[:, None] + index[None, :]) % 2).float()
    return colours[0] * (1.0 - dark) + colours[1] * dark


def plain(size: int, generator: torch.Generator) -> Tensor:
    """Return one random colour everywhere.

    Busy backgrounds alone teach a guide to look for what stands out from a texture. A classifier is surer of the same
    object on plain ones, and so are people, when the object was also made on some.
    """
    return torch.rand((3, 1, 1), generator=generator).repeat(1, size, size)


def fourier_texture(size: int, decay: float, generator: torch.Generator, contrast: float = 0.2) -> Tensor:
    """Return a smooth random texture whose amplitudes fall as frequency^-decay, in naturally correlated colours.

    `contrast` is the standard deviation of the decorrelated values before the sigmoid is scaled to [0, 1]; the paper's
    texture has 0.2.
    """
    amplitude = _amplitudes(size, decay)
    noise = torch.randn((3, *amplitude.shape, 2), generator=generator)
    texture = torch.fft.irfft2(torch.view_as_complex(noise) * amplitude, s=(size, size))
    texture = contrast * texture / texture.std(dim=(1, 2), correction=0, keepdim=True).clamp(min=1e-8)
    # The sigmoid's slope of 1/4 at 0 would leave the texture nearly grey; 4 gives it back the contrast asked for.
    return torch.sigmoid(4.0 * rgb_from_decorrelated(texture.permute(1, 2, 0)).permute(2, 0, 1))


@lru_cache(maxsize=4)
def _amplitudes(size: int, decay: float) -> Tensor:
    """Return the amplitudes (size, size // 2 + 1) of the frequencies of a real texture."""
    rows = torch.fft.fftfreq(size)[:, None] * size
    columns = torch.fft.rfftfreq(size)[None, :] * size
    return torch.hypot(rows, columns).clamp(min=1.0) ** -decay


def gaussian_blur(images: Tensor, deviations: Tensor, reach: int = 0) -> Tensor:
    """Blur square images (b, c, n, n), each with a Gaussian of its own deviation (b,) in pixels; 0 leaves it alone.

    The kernel reaches 3 deviations, or as many pixels as are said, and the border is repeated, so a constant image
    stays constant.
    """
    blurring = _blurring(images.shape[-1], deviations, reach)[:, None].to(images.device)
    return blurring @ images @ blurring.transpose(-1, -2)


def _blurring(size: int, deviations: Tensor, reach: int) -> Tensor:
    """Return the matrices (b, size, size) that blur a column of pixels: sooner than convolutions of many taps."""
    cut = reach > 0
    reach = reach or math.ceil(3.0 * float(deviations.max()))
    away, spread = torch.arange(-reach, reach + 1), deviations.clamp(min=1e-3)[:, None]
    weights = torch.exp(-0.5 * (away / spread) ** 2)
    if not cut:
        weights = weights * (away.abs() <= torch.ceil(3.0 * spread))
    weights = functional.pad(weights / weights.sum(dim=-1, keepdim=True), (size - 1, size - 1))
    # Row by row, the same weights moved on by a pixel. What lies beyond the border is as the last pixel.
    wide = weights.unfold(-1, size + 2 * reach, 1).flip(-2)
    inner = wide[..., reach : reach + size].clone()
    inner[..., 0] += wide[..., :reach].sum(dim=-1)
    inner[..., -1] += wide[..., reach + size :].sum(dim=-1)
    return inner


def draw_backgrounds(settings: BackgroundSettings, count: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw the kind of each background by its weight, then blur it by a random amount: (count, 3, size, size)."""
    weights = torch.tensor([settings.noise, settings.checkerboard, settings.fourier, settings.plain, settings.black])
    kinds = torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
    low, high = settings.blur
    fractions = low + (high - low) * torch.rand(count, generator=generator)
    sharp = torch.stack([_draw_kind(kind, settings, size, generator) for kind in kinds])
    return gaussian_blur(sharp, fractions * size, round(size * settings.blur_reach))


def _draw_kind(kind: int, settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    if kind == 0:
        return uniform_noise(size, generator)
    if kind == 1:
        return checkerboard(size, settings.checkerboard_squares, generator)
    if kind == 2:
        return fourier_texture(size, settings.fourier_decay, generator)
    return plain(size, generator) if kind == 3 else torch.zeros(3, size, size)
