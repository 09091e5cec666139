"""Backgrounds that stand behind training views (Dream Fields sec. 3.3, appendix).

An object is only an object if it is one in front of anything; a field that paints its own background is found out
when the background changes. Every function draws from the generator it is given and returns (3, size, size) in [0, 1].
"""

import math

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
    rows = torch.fft.fftfreq(size)[:, None] * size
    columns = torch.fft.rfftfreq(size)[None, :] * size
    amplitude = torch.hypot(rows, columns).clamp(min=1.0) ** -decay
    noise = torch.randn((3, *amplitude.shape, 2), generator=generator)
    texture = torch.fft.irfft2(torch.view_as_complex(noise) * amplitude, s=(size, size))
    texture = contrast * texture / texture.std(dim=(1, 2), correction=0, keepdim=True).clamp(min=1e-8)
    # The sigmoid's slope of 1/4 at 0 would leave the texture nearly grey; 4 gives it back the contrast asked for.
    return torch.sigmoid(4.0 * rgb_from_decorrelated(texture.permute(1, 2, 0)).permute(2, 0, 1))


def gaussian_blur(images: Tensor, deviation: float, reach: int = 0) -> Tensor:
    """Blur images (..., 3, h, w) with a Gaussian of a standard deviation in pixels; 0 returns them unchanged.

    The kernel reaches 3 deviations, or as many pixels as are said, and the border is repeated, so a constant image
    stays constant.
    """
    reach = reach or math.ceil(3.0 * deviation)
    if reach == 0 or deviation == 0.0:
        return images
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / deviation) ** 2)
    kernel = (weights / weights.sum()).to(images.dtype)
    flat = images.reshape(-1, 1, *images.shape[-2:])
    padded = functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(padded, kernel[None, None, None, :])
    return functional.conv2d(rows, kernel[None, None, :, None]).reshape(images.shape)


def draw_background(settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    """Draw one kind of background by its weight, then blur it by a random amount: (3, size, size) in [0, 1]."""
    weights = [settings.noise, settings.checkerboard, settings.fourier, settings.plain]
    if settings.black:  # A weight of 0 would still cost a draw.
        weights.append(settings.black)
    kind = int(torch.multinomial(torch.tensor(weights), 1, generator=generator))
    if kind == 0:
        background = uniform_noise(size, generator)
    elif kind == 1:
        background = checkerboard(size, settings.checkerboard_squares, generator)
    elif kind == 2:
        background = fourier_texture(size, settings.fourier_decay, generator)
    elif kind == 3:
        background = plain(size, generator)
    else:
        background = torch.zeros(3, size, size)
    low, high = settings.blur
    share = low + (high - low) * float(torch.rand((), generator=generator))
    return gaussian_blur(background, share * size, round(size * settings.blur_reach))
