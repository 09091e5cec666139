"""The paper's augmentation: enlarged crops of a rendering over backgrounds (Dream Fields sec. 3.3 and code).

Only the object, its colour and opacity, is cropped and enlarged; backgrounds are drawn at the input size of the
guidance. So noise has the pixels of the guidance, however coarse the rendering.
"""

import torch
from torch.nn import functional

from dreamfields.render.renderer import Rendering


def crop_views(rendering: Rendering, crop: int, copies: int, size: int, generator: torch.Generator) -> Rendering:
    """Cut a random square of `crop` pixels a side out of each of `copies` copies of v views and enlarge it.

    Returns v * copies views of `size` pixels a side; view i shows view i mod v.
    """
    parts = torch.cat([rendering.colour, rendering.opacity, rendering.depth], dim=1).repeat(copies, 1, 1, 1)
    side = parts.shape[-1]
    # The released code never draws the last offset; a crop as large as the view has one offset.
    corners = torch.randint(max(side - crop, 1), (len(parts), 2), generator=generator).tolist()
    cut = torch.stack([part[:, y : y + crop, x : x + crop] for part, (y, x) in zip(parts, corners, strict=True)])
    enlarged = functional.interpolate(cut, size=(size, size), mode="bilinear", align_corners=False)
    return Rendering(*enlarged.split((3, 1, 1), dim=1))


def double(rendering: Rendering) -> Rendering:
    """Multiply colour, which is premultiplied, by opacity once more, as the released code composites it."""
    return Rendering(rendering.colour * rendering.opacity, rendering.opacity, rendering.depth)
