"""From views to the images that a guidance scores: each view over its backgrounds, each image augmented.

Gradients of a guidance are full of detail that is right for one exact image only. Scoring an image that is turned,
shifted, scaled and recoloured a little each time keeps the part that holds for all of them. The paper enlarges crops
instead (Dream Fields sec. 3.3 and code). On a CPU both steps, and their gradient, are one compiled loop.

Notation: v views of h x h pixels, b = v k images (b, 3, size, size) in [0, 1]; image i shows view i mod v.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dreamfields.cpu import can_compile
from dreamfields.cpu.threads import in_threads, share
from dreamfields.render.cpu import AugmentParams, Views, loops
from dreamfields.render.renderer import Rendering
from dreamfields.render.settings import AugmentSettings
from dreamfields.render.volume import composite
from dreamfields.reprs import short_repr

GRAIN_DEVIATION = math.sqrt((256**2 - 1) / 12.0)  # Standard deviation of a uniform byte
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """What is done to each of b images."""

    size: int  # Pixels a side of the augmented images
    theta: Tensor  # (b, 2, 3) from (x, y, 1) in an augmented image, x and y in [-1, 1], to x and y in the image
    tone: Tensor  # (b, 3) factor of saturation, factor of contrast, difference of brightness
    grain: Tensor  # (b, 3, size, size) noise, uint8
    noise: float  # Standard deviation of the noise

    __repr__ = short_repr


def draw_augmentation(count: int, size: int, settings: AugmentSettings, generator: Generator) -> Augmentation:
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


def in_grey(images: Tensor) -> Tensor:
    """Return images (b, 3, h, w) without colours, by their luma (ITU-R BT.601)."""
    weights = images.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True).expand_as(images)


def crop_views(rendering: Rendering, crop: int, copies: int, size: int, generator: Generator) -> Rendering:
    """Cut a random square of `crop` pixels a side out of each of `copies` copies of v views, enlarged to `size` a side.

    Backgrounds are drawn at that size later, so their noise has the pixels of the guidance, however coarse the views.
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


def compose_views(views: Rendering, backgrounds: Tensor, augmentation: Augmentation) -> Tensor:
    """Return augmented images (b, 3, size, size) of v views over backgrounds (b, 3, h, h), the fastest way there is.

    In the compiled loop a value of exactly 0 or 1 counts as clipped and has no gradient.
    """
    if not usable(views.colour):
        return compose_views_reference(views, backgrounds, augmentation)
    images: Tensor = _ComposeViews.apply(views.colour, views.opacity, backgrounds, augmentation)  # type: ignore[no-untyped-call]
    return images


def compose_views_reference(views: Rendering, backgrounds: Tensor, augmentation: Augmentation) -> Tensor:
    """Return what `compose_views` returns: the readable reference."""
    copies = len(backgrounds) // len(views.colour)
    colour, opacity = views.colour.repeat(copies, 1, 1, 1), views.opacity.repeat(copies, 1, 1, 1)
    return augment(composite(colour, opacity, backgrounds.to(colour.device)), augmentation)


def usable(images: Tensor) -> bool:
    """Return whether the loop can compose views: square, of float32, on a CPU with Numba."""
    height, width = images.shape[-2:]
    return images.device.type == "cpu" and images.dtype == torch.float32 and height == width >= 2 and can_compile()


class _ComposeViews(torch.autograd.Function):
    """From colours (v, 3, h, h) and opacities (v, 1, h, h) to images (b, 3, size, size), with a gradient."""

    @staticmethod
    def forward(ctx: Any, colour: Tensor, opacity: Tensor, backgrounds: Tensor, augmentation: Augmentation) -> Tensor:
        arrays = augmentation.theta.reshape(-1, 6), augmentation.tone, augmentation.grain.reshape(-1)
        level = np.float32(augmentation.noise / GRAIN_DEVIATION)
        params = AugmentParams(colour.shape[-1], augmentation.size, level, *(array.numpy() for array in arrays))
        views = Views(_planes(colour), _planes(opacity)[0], backgrounds.contiguous().reshape(-1).numpy())
        out = torch.empty(len(backgrounds), 3, params.size, params.size)
        _run_loop(loops("compose").augment, len(out), params, views, out.view(-1).numpy())
        ctx.params, ctx.views, ctx.count = params, views, len(colour)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        params, count = ctx.params, ctx.count
        out, grads = (part.reshape(-1).numpy() for part in (*ctx.saved_tensors, grad.contiguous()))
        planes = np.empty((4, count * params.side**2), np.float32)
        gradients = Views(planes[:3], planes[3], ctx.views.backgrounds)
        _run_loop(loops("compose").vjp, count, params, ctx.views, out, grads, gradients)
        images = torch.from_numpy(planes).reshape(4, count, params.side, params.side).transpose(0, 1)
        return images[:, :3], images[:, 3:], None, None


def _run_loop(loop: Callable[..., None], count: int, params: AugmentParams, *given: object) -> None:
    """Run a loop over `count` images or views in threads, each with its own memory."""

    def work(part: int, parts: int) -> None:
        scratch = loops("compose").make_scratch(params.side, params.size)
        own = share(count, part, parts)
        loop(params, *given, own.start, own.stop, scratch)

    in_threads(work, min(count, torch.get_num_threads()))


def _planes(images: Tensor) -> Any:
    """Return images (v, c, h, w) as planes (c, v h w); those of the compiled renderer need no copy."""
    return images.detach().transpose(0, 1).contiguous().reshape(images.shape[1], -1).numpy()
