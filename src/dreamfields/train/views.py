"""How a picture with captions is shown to a tower: as a photograph or as a cut-out.

A *photograph* gives its middle square, and then a random crop, mirrored or not. A *cut-out*, an image whose backdrop is
one even colour, gives its object in front of random backgrounds of generation instead, scaled and shifted: adapters
trained on objects on white only would learn the white as a part of them.
"""

from typing import Final

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dreamfields.render.backgrounds import draw_backgrounds
from dreamfields.render.settings import BackgroundSettings

VIEWS: Final = 2  # Views of each picture
PLAIN: Final = -1  # View index for measuring: the picture as it is, without chance
PLAIN_SIZE, VARIED_SIZE = 224, 160  # Pixels a side: the towers' own, and fewer, since the images of a run are small
_TOLERANCE = 0.06  # Largest difference of a backdrop's pixel from its colour


def show(picture: Image.Image, view: int, generator: torch.Generator) -> Tensor:
    """Return a view, from 0 or PLAIN, of an RGB image of any size: (3, s, s) in [0, 1], with s one of the two sizes."""
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1) / 255.0
    behind = None if view == PLAIN else backdrop(pixels)
    if behind is None and view <= 0:
        return _scaled(middle_square(pixels), [PLAIN_SIZE] * 2)
    if _draw(generator, 0.0, 1.0) < 0.5:
        pixels, behind = pixels.flip(2), None if behind is None else behind.flip(1)
    if behind is None:
        return _scaled(_random_part(pixels, generator), [VARIED_SIZE] * 2)
    return _recomposed(pixels, behind, VARIED_SIZE, generator)


def middle_square(pixels: Tensor) -> Tensor:
    """Return the largest middle square of an image (c, h, w)."""
    side = min(pixels.shape[1:])
    top, left = ((extent - side) // 2 for extent in pixels.shape[1:])
    return pixels[:, top : top + side, left : left + side]


def backdrop(pixels: Tensor) -> Tensor | None:
    """Return the mask (h, w) of 0 and 1 of the even backdrop of an image (3, h, w); None if it has none.

    It is the region connected to the border that has the border's colour; nearly the whole border must have that
    colour, and the region must not fill the image.
    """
    border = torch.cat([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], dim=1)
    colour = border.median(dim=1).values
    if ((border - colour[:, None]).abs().amax(dim=0) < _TOLERANCE).float().mean() < 0.95:
        return None
    even = ((pixels - colour[:, None, None]).abs().amax(dim=0) < _TOLERANCE).numpy()
    parts, _ = ndimage.label(even)
    outer = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    mask = torch.from_numpy(np.isin(parts, outer[outer > 0])).float()
    return mask if mask.mean() < 0.98 else None


def _random_part(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random crop (3, h', w') of an image."""
    side = min(pixels.shape[1:]) * _draw(generator, 0.6, 1.0)
    stretch = _draw(generator, 0.8, 1.25) ** 0.5
    height = max(1, min(pixels.shape[1], round(side * stretch)))
    width = max(1, min(pixels.shape[2], round(side * (1.0 / stretch))))
    top = round(_draw(generator, 0.0, 1.0) * (pixels.shape[1] - height))
    left = round(_draw(generator, 0.0, 1.0) * (pixels.shape[2] - width))
    return pixels[:, top : top + height, left : left + width]


def _recomposed(pixels: Tensor, behind: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return the object, a little larger or smaller and shifted, in front of a random background."""
    rows, columns = torch.nonzero(behind.amin(dim=1) < 1.0)[:, 0], torch.nonzero(behind.amin(dim=0) < 1.0)[:, 0]
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    layer = torch.cat([pixels, 1.0 - behind[None]])[:, box[0], box[1]]
    scale = max(1, round(size * _draw(generator, 0.7, 1.1))) / max(layer.shape[1:])
    shape = [max(1, round(extent * scale)) for extent in layer.shape[1:]]
    canvas = torch.zeros(4, 2 * size, 2 * size)
    top, left = (round(size - extent / 2 + _draw(generator, -0.1, 0.1) * size) for extent in shape)
    canvas[:, top : top + shape[0], left : left + shape[1]] = _scaled(layer, shape)
    canvas = canvas[:, size // 2 : size // 2 + size, size // 2 : size // 2 + size]
    background = draw_backgrounds(BackgroundSettings(), 1, size, generator)[0]
    return canvas[:3] * canvas[3:] + background * (1.0 - canvas[3:])


def _scaled(pixels: Tensor, shape: list[int]) -> Tensor:
    """Return an image (c, h, w) in another shape [h', w'], antialiased."""
    return functional.interpolate(pixels[None], shape, mode="bilinear", antialias=True)[0].clamp(0.0, 1.0)


def _draw(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
