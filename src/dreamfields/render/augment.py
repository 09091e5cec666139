"""Augmentation: small changes of an image that keep what it shows.

Gradients of a guidance are full of detail that is right for one exact image only. Scoring an image that is turned,
shifted, scaled and recoloured a little each time keeps the part that holds for all of them. Images are (b, 3, h, w) in
[0, 1]; each has its own random numbers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.render.settings import AugmentSettings

GRAIN_DEVIATION = math.sqrt((256**2 - 1) / 12.0)  # Standard deviation of a uniform byte


@dataclass(frozen=True)
class Augmentation:
    """What is done to each of b images."""

    size: int  # Pixels a side of the augmented images
    theta: Tensor  # (b, 2, 3) from (x, y, 1) in an augmented image, x and y in [-1, 1], to x and y in the image
    tone: Tensor  # (b, 3) factor of saturation, factor of contrast, difference of brightness
    grain: Tensor  # (b, 3, size, size) noise, uint8
    noise: float  # Standard deviation of the noise


def draw_augmentation(count: int, size: int, settings: AugmentSettings, generator: torch.Generator) -> Augmentation:
    """Draw the augmentation of several images."""
    low, high = settings.scale
    scale = low + (high - low) * torch.rand(count, generator=generator)
    angle = math.radians(settings.rotation_deg) * (2.0 * torch.rand(count, generator=generator) - 1.0)
    shift = 2.0 * settings.shift * (2.0 * torch.rand((count, 2), generator=generator) - 1.0)
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    theta = [torch.stack([cosine, -sine, shift[:, 0]], dim=-1), torch.stack([sine, cosine, shift[:, 1]], dim=-1)]
    uniform = torch.rand((count, 3), generator=generator)
    low, high = settings.saturation
    saturation = low + (high - low) * uniform[:, 0]
    contrast = 1.0 + settings.contrast * (2.0 * uniform[:, 1] - 1.0)
    brightness = settings.brightness * (2.0 * uniform[:, 2] - 1.0)
    # Drawing words of 8 bytes is eight times as fast as drawing bytes.
    words = torch.empty(-(-count * 3 * size**2 // 8), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    grain = words.view(torch.uint8)[: count * 3 * size**2].reshape(count, 3, size, size)
    tone = torch.stack([saturation, contrast, brightness], dim=-1)
    return Augmentation(size, torch.stack(theta, dim=1), tone, grain, settings.noise)


def augment(images: Tensor, augmentation: Augmentation) -> Tensor:
    """Return the augmented images (b, 3, size, size): the readable reference."""
    coloured = recolour(warp(images, augmentation.size, augmentation.theta.to(images)), augmentation.tone.to(images))
    noise = (augmentation.grain.to(images) - 127.5) / GRAIN_DEVIATION
    return (coloured + augmentation.noise * noise).clamp(0.0, 1.0)


def warp(images: Tensor, size: int, theta: Tensor) -> Tensor:
    """Scale, turn and shift each image by its own matrix (b, 2, 3); beyond its border it is mirrored."""
    grid = functional.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def recolour(images: Tensor, tone: Tensor) -> Tensor:
    """Change saturation, contrast and brightness of each image by its own numbers (b, 3)."""
    saturation, contrast, brightness = (part[:, None, None, None] for part in tone.unbind(dim=1))
    grey = images.mean(dim=1, keepdim=True)
    saturated = grey + saturation * (images - grey)
    mean = saturated.mean(dim=(1, 2, 3), keepdim=True)
    return mean + contrast * (saturated - mean) + brightness
