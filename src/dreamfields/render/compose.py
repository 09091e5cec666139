"""From views to the pictures that guides see: each view over its backgrounds, each of these pictures varied.

`compose_views_reference` is the readable definition. On a CPU both steps, and their way back, are one compiled loop.

Notation: v views, b = v k pictures; picture p shows view p mod v.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamfields.render.augment import GRAIN_DEVIATION, Augmentation, augment
from dreamfields.render.cpu.threads import in_threads
from dreamfields.render.renderer import Rendering
from dreamfields.render.volume import composite

if TYPE_CHECKING:
    from dreamfields.render.cpu.compose import AugmentParams


def compose_views(views: Rendering, backgrounds: Tensor, augmentation: Augmentation) -> Tensor:
    """Return varied pictures (b, 3, size, size) of v views over backgrounds (b, 3, h, h), the fastest way there is.

    By the compiled loop, a value that comes out as exactly 0 or 1 counts as clipped and has no gradient.
    """
    if not usable(views.colour):
        return compose_views_reference(views, backgrounds, augmentation)
    pictures: Tensor = _ComposeViews.apply(views.colour, views.opacity, backgrounds, augmentation)  # type: ignore[no-untyped-call]
    return pictures


def compose_views_reference(views: Rendering, backgrounds: Tensor, augmentation: Augmentation) -> Tensor:
    """Return what `compose_views` does: the readable definition."""
    copies = len(backgrounds) // len(views.colour)
    colour, opacity = views.colour.repeat(copies, 1, 1, 1), views.opacity.repeat(copies, 1, 1, 1)
    return augment(composite(colour, opacity, backgrounds.to(colour.device)), augmentation)


def usable(images: Tensor) -> bool:
    """Tell whether the loop can show views: square ones of float32 on the CPU, where Numba can be imported."""
    if images.device.type != "cpu" or images.dtype != torch.float32 or images.shape[-1] < 2:
        return False
    try:
        _loops()
    except ImportError:
        return False
    return images.shape[-1] == images.shape[-2]


class _ComposeViews(torch.autograd.Function):
    """From colours (v, 3, h, h) and opacities (v, 1, h, h) to pictures (b, 3, size, size), and back."""

    @staticmethod
    def forward(ctx: Any, colour: Tensor, opacity: Tensor, backgrounds: Tensor, augmentation: Augmentation) -> Tensor:
        loops, count, params = _loops(), len(backgrounds), _augment_params(colour.shape[-1], augmentation)
        seen = loops.Views(_planes(colour), _planes(opacity)[0], backgrounds.contiguous().reshape(-1).numpy())
        out = torch.empty(count, 3, params.size, params.size)

        def work(part: int, parts: int) -> None:
            first, last = count * part // parts, count * (part + 1) // parts
            loops.augment(params, seen, first, last, loops.make_scratch(params.side, params.size), out.view(-1).numpy())

        in_threads(work, min(count, torch.get_num_threads()))
        ctx.params, ctx.seen, ctx.views = params, seen, len(colour)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        loops, params, views = _loops(), ctx.params, ctx.views
        out, grads = (part.reshape(-1).numpy() for part in (*ctx.saved_tensors, grad.contiguous()))
        planes = np.empty((4, views * params.side**2), np.float32)
        gradients = loops.Views(planes[:3], planes[3], ctx.seen.backgrounds)

        def work(part: int, parts: int) -> None:
            first, last = views * part // parts, views * (part + 1) // parts
            scratch = loops.make_scratch(params.side, params.size)
            loops.vjp(params, ctx.seen, out, grads, first, last, scratch, gradients)

        in_threads(work, min(views, torch.get_num_threads()))
        whole = torch.from_numpy(planes).reshape(4, views, params.side, params.side).transpose(0, 1)
        return whole[:, :3], whole[:, 3:], None, None


def _augment_params(side: int, augmentation: Augmentation) -> "AugmentParams":
    """Lay a variation out for the loops."""
    params: AugmentParams = _loops().AugmentParams(
        side=side,
        size=augmentation.size,
        theta=augmentation.theta.reshape(-1, 6).numpy(),
        tone=augmentation.tone.numpy(),
        grain=augmentation.grain.reshape(-1).numpy(),
        level=np.float32(augmentation.noise / GRAIN_DEVIATION),
    )
    return params


def _planes(images: Tensor) -> Any:
    """Return images (v, c, h, w) as planes (c, v h w); those of the compiled renderer already lie like that."""
    return images.detach().transpose(0, 1).contiguous().reshape(images.shape[1], -1).numpy()


def _loops() -> Any:
    """Import the loops when they are first needed, as Numba takes its time.

    Raises:
        ImportError: Numba is missing, or does not fit the NumPy that is there.
    """
    from dreamfields.render.cpu import compose as varying

    return varying
