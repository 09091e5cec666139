"""Augmentation: small changes of a picture that must not change what it shows.

Guidance gradients are full of detail that only one exact picture rewards. Scoring a slightly turned, moved, scaled and
recoloured picture each time leaves the part that holds for all of them. Images are (b, 3, h, w) in [0, 1]; every image
of a batch gets draws of its own.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.render.settings import AugmentSettings


def augment(images: Tensor, size: int, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Vary images in geometry and colour and resample them to size x size pixels, differentiably."""
    moved = similarity(images, size, settings, generator)
    coloured = recolour(moved, settings, generator)
    noise = torch.randn(coloured.shape, generator=generator).to(images.device)
    return (coloured + settings.noise * noise).clamp(0.0, 1.0)


def similarity(images: Tensor, size: int, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Scale, turn and shift each image by its own draw; what lies outside is mirrored in."""
    count = images.shape[0]
    low, high = settings.scale
    scale = low + (high - low) * torch.rand(count, generator=generator)
    angle = math.radians(settings.rotation_deg) * (2.0 * torch.rand(count, generator=generator) - 1.0)
    shift = 2.0 * settings.shift * (2.0 * torch.rand((count, 2), generator=generator) - 1.0)
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    rows = [torch.stack([cosine, -sine, shift[:, 0]], dim=-1), torch.stack([sine, cosine, shift[:, 1]], dim=-1)]
    theta = torch.stack(rows, dim=1).to(images.device)
    grid = functional.affine_grid(theta, [count, 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def recolour(images: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Change saturation, contrast and brightness of each image by its own draws."""
    draws = torch.rand((3, images.shape[0], 1, 1, 1), generator=generator).to(images.device)
    low, high = settings.saturation
    saturation = low + (high - low) * draws[0]
    contrast = 1.0 + settings.contrast * (2.0 * draws[1] - 1.0)
    brightness = settings.brightness * (2.0 * draws[2] - 1.0)
    grey = images.mean(dim=1, keepdim=True)
    saturated = grey + saturation * (images - grey)
    mean = saturated.mean(dim=(1, 2, 3), keepdim=True)
    return mean + contrast * (saturated - mean) + brightness
