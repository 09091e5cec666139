"""From views to the images that a guidance scores: each view over its backgrounds, each image augmented.

`compose_views_reference` is the readable reference. On a CPU both steps, and their gradient, are one compiled loop.

Notation: v views, b = v k images; image i shows view i mod v.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamfields.render.augment import GRAIN_DEVIATION, Augmentation, augment
from dreamfields.render.cpu import can_compile, loops
from dreamfields.render.cpu.threads import in_threads
from dreamfields.render.renderer import Rendering
from dreamfields.render.volume import composite

if TYPE_CHECKING:
    from dreamfields.render.cpu.compose import AugmentParams


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
        kernels, count, params = loops("compose"), len(backgrounds), _augment_params(colour.shape[-1], augmentation)
        views = kernels.Views(_planes(colour), _planes(opacity)[0], backgrounds.contiguous().reshape(-1).numpy())
        out = torch.empty(count, 3, params.size, params.size)

        def work(part: int, parts: int) -> None:
            first, last = count * part // parts, count * (part + 1) // parts
            scratch = kernels.make_scratch(params.side, params.size)
            kernels.augment(params, views, first, last, scratch, out.view(-1).numpy())

        in_threads(work, min(count, torch.get_num_threads()))
        ctx.params, ctx.views, ctx.count = params, views, len(colour)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kernels, params, count = loops("compose"), ctx.params, ctx.count
        out, grads = (part.reshape(-1).numpy() for part in (*ctx.saved_tensors, grad.contiguous()))
        planes = np.empty((4, count * params.side**2), np.float32)
        gradients = kernels.Views(planes[:3], planes[3], ctx.views.backgrounds)

        def work(part: int, parts: int) -> None:
            first, last = count * part // parts, count * (part + 1) // parts
            scratch = kernels.make_scratch(params.side, params.size)
            kernels.vjp(params, ctx.views, out, grads, first, last, scratch, gradients)

        in_threads(work, min(count, torch.get_num_threads()))
        images = torch.from_numpy(planes).reshape(4, count, params.side, params.side).transpose(0, 1)
        return images[:, :3], images[:, 3:], None, None


def _augment_params(side: int, augmentation: Augmentation) -> "AugmentParams":
    """Arrange an augmentation of images of `side` pixels a side for the loops."""
    params: AugmentParams = loops("compose").AugmentParams(
        side=side,
        size=augmentation.size,
        theta=augmentation.theta.reshape(-1, 6).numpy(),
        tone=augmentation.tone.numpy(),
        grain=augmentation.grain.reshape(-1).numpy(),
        level=np.float32(augmentation.noise / GRAIN_DEVIATION),
    )
    return params


def _planes(images: Tensor) -> Any:
    """Return images (v, c, h, w) as planes (c, v h w); those of the compiled renderer need no copy."""
    return images.detach().transpose(0, 1).contiguous().reshape(images.shape[1], -1).numpy()
