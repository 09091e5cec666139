"""Gaussian blur of square images, each by an amount of its own; on a CPU as a compiled loop.

Border pixels are repeated outwards, so a constant image stays constant.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.cpu import can_compile
from dreamfields.cpu.threads import in_threads, share
from dreamfields.render.cpu import loops


def gaussian_blur(images: Tensor, deviations: Tensor, reach: int = 0) -> Tensor:
    """Blur square images (b, c, n, n), each with a Gaussian of its own deviation (b,) in pixels; 0 changes nothing.

    The kernel ends at `reach` pixels, or with 0 at 3 deviations.
    """
    if images.device.type != "cpu" or images.dtype != torch.float32 or not can_compile():
        return gaussian_blur_reference(images, deviations, reach)
    kernels = _kernels(deviations, reach)
    ends, side, planes = kernels.shape[1] // 2, images.shape[-1], len(images) * images.shape[1]
    source, weights = images.contiguous().reshape(-1).numpy(), kernels[:, ends:].contiguous().numpy()
    out = torch.empty(images.shape)

    def work(part: int, parts: int) -> None:
        own, line = share(planes, part, parts), np.empty(side + 2 * ends, np.float32)
        loops("blur").blur(source, weights, side, out.view(-1).numpy(), own.start, own.stop, line)

    in_threads(work, min(planes, torch.get_num_threads()))
    return out


def gaussian_blur_reference(images: Tensor, deviations: Tensor, reach: int = 0) -> Tensor:
    """Return what `gaussian_blur` returns, by a product with a matrix from either side: the readable reference."""
    matrices = _matrices(images.shape[-1], _kernels(deviations, reach))[:, None].to(images.device)
    return matrices @ images @ matrices.transpose(-1, -2)


def _kernels(deviations: Tensor, reach: int) -> Tensor:
    """Return the weights (b, 2 r + 1) of the pixels up to r away; they sum to 1."""
    cut = reach > 0
    reach = reach or math.ceil(3.0 * float(deviations.max()))
    offsets, spread = torch.arange(-reach, reach + 1), deviations.clamp(min=1e-3)[:, None]
    kernels = torch.exp(-0.5 * (offsets / spread) ** 2)
    if not cut:
        kernels = kernels * (offsets.abs() <= torch.ceil(3.0 * spread))
    return kernels / kernels.sum(dim=-1, keepdim=True)


def _matrices(size: int, kernels: Tensor) -> Tensor:
    """Return the matrices (b, size, size) that blur a column of pixels; faster than a convolution of many taps."""
    reach = kernels.shape[1] // 2
    # Each row holds the same kernel one pixel further on. What lies beyond the border counts as the border pixel.
    wide = functional.pad(kernels, (size - 1, size - 1)).unfold(-1, size + 2 * reach, 1).flip(-2)
    inner = wide[..., reach : reach + size].clone()
    inner[..., 0] += wide[..., :reach].sum(dim=-1)
    inner[..., -1] += wide[..., reach + size :].sum(dim=-1)
    return inner
