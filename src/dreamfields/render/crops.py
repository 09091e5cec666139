"""The paper's augmentation: crops of a rendering, enlarged, in front of backgrounds (Dream Fields sec. 3.3, code).

What is cropped and enlarged is the object, colour and opacity; backgrounds are drawn at the size that the guide looks
at. So a pixel of noise is one of the guide's pixels, however coarse the rendering.

Notation: v views, k copies of each, h the side of a rendering, n that of a crop, s that of a picture.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.render.backgrounds import checkerboard, gaussian_blur, plain
from dreamfields.render.renderer import Rendering
from dreamfields.render.settings import BackgroundSettings
from dreamfields.scene.colour import rgb_from_decorrelated

_TEXTURE_CONTRAST: Final = 0.2


def crop_views(rendering: Rendering, crop: int, copies: int, size: int, draws: torch.Generator) -> Rendering:
    """Cut a random square of `crop` pixels a side out of each copy of each view and enlarge it: v k of size s."""
    parts = torch.cat([rendering.colour, rendering.opacity, rendering.depth], dim=1).repeat(copies, 1, 1, 1)
    side = parts.shape[-1]
    # The released code never draws the last offset; without room there is one offset.
    corners = torch.randint(max(side - crop, 1), (len(parts), 2), generator=draws).tolist()
    cut = torch.stack([part[:, y : y + crop, x : x + crop] for part, (y, x) in zip(parts, corners, strict=True)])
    grown = functional.interpolate(cut, size=(size, size), mode="bilinear", align_corners=False)
    return Rendering(grown[:, :3], grown[:, 3:4], grown[:, 4:5])


def double(rendering: Rendering) -> Rendering:
    """Weigh colour, which is premultiplied, by opacity once more, as the released code composites it."""
    return Rendering(rendering.colour * rendering.opacity, rendering.opacity, rendering.depth)


def draw_backgrounds(
    settings: BackgroundSettings, count: int, size: int, draws: torch.Generator, device: torch.device
) -> Tensor:
    """Draw many backgrounds, each of a kind of its own: (count, 3, size, size) in [0, 1], on a device.

    The same kinds as `backgrounds.draw_backgrounds` draws one at a time. Chances are drawn on the CPU, so that a seed
    means the same everywhere; what takes time, spectra and blur, is done on the device for all at once.
    """
    weights = (settings.noise, settings.checkerboard, settings.fourier, settings.plain, settings.black)
    kinds = torch.multinomial(torch.tensor(weights), count, replacement=True, generator=draws)
    pictures = torch.zeros(count, 3, size, size, device=device)
    noisy, textured = (kinds == 0).nonzero()[:, 0], (kinds == 2).nonzero()[:, 0]
    pictures[noisy.to(device)] = torch.rand((len(noisy), 3, size, size), generator=draws).to(device)
    if len(textured):  # Some libraries refuse the transform of nothing.
        pictures[textured.to(device)] = fourier_textures(len(textured), size, settings.fourier_decay, draws, device)
    for index in (kinds == 1).nonzero()[:, 0].tolist():
        pictures[index] = checkerboard(size, settings.checkerboard_squares, draws).to(device)
    for index in (kinds == 3).nonzero()[:, 0].tolist():
        pictures[index] = plain(size, draws).to(device)
    low, high = settings.blur
    deviations = size * (low + (high - low) * torch.rand(count, generator=draws))
    return gaussian_blur(pictures, deviations, round(size * settings.blur_reach))


def fourier_textures(count: int, size: int, decay: float, draws: torch.Generator, device: torch.device) -> Tensor:
    """Return smooth random textures (count, 3, size, size) on a device; see `backgrounds.fourier_texture`."""
    frequencies = torch.hypot(torch.fft.fftfreq(size)[:, None] * size, torch.fft.rfftfreq(size)[None, :] * size)
    amplitude = (frequencies.clamp(min=1.0) ** -decay).to(device)
    noise = torch.randn((count, 3, *amplitude.shape, 2), generator=draws).to(device)
    textures = torch.fft.irfft2(torch.view_as_complex(noise) * amplitude, s=(size, size))
    deviation = textures.std(dim=(2, 3), correction=0, keepdim=True).clamp(min=1e-8)
    decorrelated = (_TEXTURE_CONTRAST * textures / deviation).permute(0, 2, 3, 1)
    return torch.sigmoid(4.0 * rgb_from_decorrelated(decorrelated).permute(0, 3, 1, 2))
