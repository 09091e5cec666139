"""Scoring a step's images a few at a time, with the values and gradients of scoring all at once.

The model's activations are kept for one chunk at a time; of each chunk the gradient of its images is kept.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Score = Callable[[Tensor, slice], Tensor]
"""Images (b, 3, h, w) and which of all they are in, scores (b,) out, differentiably; each depends on its own image."""


def score_in_parts(score: Score, images: Tensor, batch_size: int) -> Tensor:
    """Return score(images, all), (b,), computed for `batch_size` images at a time; 0 takes all at once."""
    if batch_size == 0 or len(images) <= batch_size or not (torch.is_grad_enabled() and images.requires_grad):
        return score(images, slice(None))
    scores: Tensor = _Chunked.apply(images, score, batch_size)  # type: ignore[no-untyped-call]
    return scores


class _Chunked(torch.autograd.Function):
    """Computes each chunk's gradient in the forward pass, while its activations exist."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, score: Score, batch_size: int) -> Tensor:
        scores, gradients = [], []
        for begin in range(0, len(images), batch_size):
            which = slice(begin, begin + batch_size)
            chunk = images[which].detach()
            with torch.enable_grad():
                part = score(chunk.requires_grad_(), which)
                (gradient,) = torch.autograd.grad(part.sum(), chunk)
            scores.append(part.detach())
            gradients.append(gradient)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(scores)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gradients,) = ctx.saved_tensors
        return gradients * grad.reshape(-1, *[1] * (gradients.ndim - 1)), None, None
