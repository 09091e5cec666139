"""Smooth random textures with the spectrum and the colour correlations of natural images."""

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from dreamfields.render.settings import BackgroundSettings
from dreamfields.scene.colour import correlation

CONTRAST: Final = 0.2  # Standard deviation of the decorrelated values, the paper's


def draw(settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    """Return a texture whose amplitudes fall as frequency^-`fourier_decay`."""
    amplitudes = _amplitudes(size, settings.fourier_decay)
    noise = torch.randn((3, *amplitudes.shape, 2), generator=generator)
    texture = torch.fft.irfft2(torch.view_as_complex(noise) * amplitudes, s=(size, size))
    # In a tenth of the time of `std`
    deviation = (texture - texture.mean(dim=(1, 2), keepdim=True)).square().mean(dim=(1, 2), keepdim=True).sqrt()
    texture = CONTRAST * texture / deviation.clamp(min=1e-8)
    # The sigmoid has slope 1/4 at 0; the factor 4 makes up for it, so that the texture keeps its contrast.
    return torch.sigmoid(4.0 * (correlation() @ texture.reshape(3, -1))).reshape(3, size, size)


@lru_cache(maxsize=4)
def _amplitudes(size: int, decay: float) -> Tensor:
    """Return the amplitudes (size, size // 2 + 1) of the frequencies of a real texture."""
    rows = torch.fft.fftfreq(size)[:, None] * size
    columns = torch.fft.rfftfreq(size)[None, :] * size
    return torch.hypot(rows, columns).clamp(min=1.0) ** -decay
