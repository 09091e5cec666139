"""A step's pictures shown to a model some at a time, with the gradient of all of them together.

A model's layers are kept for few pictures only, so any number of pictures fits into any memory. What is kept of a part
is its gradient with respect to its pictures: as large as they are.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Score = Callable[[Tensor], Tensor]
"""Pictures (b, 3, h, w) in, scores (b,) out, differentiably; each picture's score is of that picture alone."""


def score_in_parts(score: Score, images: Tensor, batch_size: int) -> Tensor:
    """Return score(images), (b,), shown `batch_size` at a time; 0 shows all.

    Values and gradients are those of all at once, up to rounding.
    """
    if batch_size == 0 or len(images) <= batch_size or not (torch.is_grad_enabled() and images.requires_grad):
        return score(images)
    scores: Tensor = _InParts.apply(images, score, batch_size)  # type: ignore[no-untyped-call]
    return scores


class _InParts(torch.autograd.Function):
    """All parts forward and back at once, while their layers are there."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, score: Score, batch_size: int) -> Tensor:
        scores, gradients = [], []
        for part in images.detach().split(batch_size):
            with torch.enable_grad():
                shown = part.requires_grad_()
                answers = score(shown)
                (gradient,) = torch.autograd.grad(answers.sum(), shown)
            scores.append(answers.detach())
            gradients.append(gradient)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(scores)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gradients,) = ctx.saved_tensors
        return gradients * grad.reshape(-1, *[1] * (gradients.ndim - 1)), None, None
