"""Images shown in parts: the same scores, the same gradients, fewer images at a time."""

import pytest
import torch
from torch import Tensor

from dreamfields.guidance.chunked import score_in_parts


class Counting:
    """A score that is anything but linear, differs from image to image, and remembers how many it saw at a time."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, images: Tensor, which: slice) -> Tensor:
        self.seen.append(len(images))
        return (torch.arange(7.0)[which] + (images**3).sum(dim=(1, 2, 3))).sin()


def images() -> Tensor:
    return torch.rand((7, 3, 4, 4), generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100, 0])
def test_scores_and_gradients_are_those_of_all_at_once(batch_size: int) -> None:
    weights = torch.linspace(-1.0, 2.0, 7)
    whole, parts, score = images(), images(), Counting()
    expected, found = score(whole, slice(None)), score_in_parts(score, parts, batch_size)
    assert torch.allclose(found, expected)
    for scores in (expected, found):
        (weights * scores).sum().backward()
    assert parts.grad is not None
    assert whole.grad is not None
    assert torch.allclose(parts.grad, whole.grad, atol=1e-6)
    assert max(score.seen[1:]) == min(batch_size or 7, 7)


def test_nothing_is_kept_where_nothing_learns() -> None:
    score = Counting()
    with torch.no_grad():
        assert not score_in_parts(score, images(), 2).requires_grad
    assert not score_in_parts(score, images().detach(), 2).requires_grad


def test_layers_are_kept_for_one_part_alone() -> None:
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        score_in_parts(Counting(), images(), 1)
    assert max(kept) <= 7 * 48  # the gradient with respect to all images; layers of one part only
    assert kept.count(7 * 48) == 1
