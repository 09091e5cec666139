"""Recall at 1, 5 and 10 of held-out images by their sentences, and of sentences by their image."""

from dataclasses import dataclass

import torch
from torch import Tensor

RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Recall:
    """Fractions in [0, 1] of queries whose answer is among the first `RANKS`."""

    pictures: tuple[float, ...]  # Text to image: fraction of sentences whose image is found
    sentences: tuple[float, ...]  # Image to text: fraction of images one of whose sentences is found


def recall(scores: Tensor) -> Recall:
    """Return both recalls of scores (n t, n), where sentence i belongs to image i // t."""
    count = scores.shape[1]
    owner = torch.arange(len(scores)) // (len(scores) // count)
    others = owner[:, None] != torch.arange(count)
    # Ties count as misses, so a constant score finds nothing.
    picture_ranks = (scores >= scores.gather(1, owner[:, None])).sum(dim=1)
    # The best of an image's own sentences counts; its other sentences are right as well.
    best = scores.masked_fill(others, -torch.inf).amax(dim=0)
    sentence_ranks = 1 + ((scores >= best) & others).sum(dim=0)
    return Recall(
        tuple(float((picture_ranks <= most).float().mean()) for most in RANKS),
        tuple(float((sentence_ranks <= most).float().mean()) for most in RANKS),
    )
