"""How well pictures and sentences find each other: recall at 1, 5 and 10 on pictures that were never trained on.

Notation: n pictures with t sentences each; an ensemble's score is the mean of its members' logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.guidance.lit.adapters import Adapters
from dreamfields.guidance.lit.text import SentenceEncoder
from dreamfields.guidance.lit.towers import Tower
from dreamfields.train.countdown import ProgressBar
from dreamfields.train.data import TOWERS
from dreamfields.train.features import picture_features, sentence_embeddings
from dreamfields.train.pairs import Pair, PairSet
from dreamfields.train.views import PLAIN

RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Recall:
    """Shares in [0, 1] of what is found among the first 1, 5 and 10."""

    pictures: tuple[float, ...]
    """Of sentences, whose picture is found."""
    sentences: tuple[float, ...]
    """Of pictures, one of whose sentences is found."""


def heldout(pictures: PairSet, count: int) -> tuple[Pair, ...]:
    """Return the first `count` held-out pictures of a set.

    Raises:
        UsageError: it has none, or they have different numbers of sentences.
    """
    pairs = [pair for pair in pictures.pairs if pair.split == "heldout"][:count]
    if not pairs:
        raise UsageError(f'{pictures.name} has no held-out pictures; mark some in pairs.jsonl with "split": "heldout"')
    if len({len(pair.texts) for pair in pairs}) > 1:
        raise UsageError(f"the held-out pictures of {pictures.name} must all have the same number of sentences")
    return tuple(pairs)


@torch.no_grad()
def logits(adapters: Adapters, pictures: PairSet, pairs: Sequence[Pair], cache: Path, console: Console) -> Tensor:
    """Return the logits (n t, n) of all sentences for all pictures, seen plainly and at full precision."""
    tower = Tower(TOWERS[adapters.tower])
    seen = []
    with ProgressBar(console, f"{adapters.tower} sees pictures:", len(pairs)) as countdown:
        for chunk in picture_features(pictures, pairs, PLAIN, tower, "fp32", cache):
            seen.append(chunk.values)
            countdown.advance(len(chunk.values), chunk.kept)
    texts = [text for pair in pairs for text in pair.texts]
    read = torch.cat([chunk.values for chunk in sentence_embeddings(texts, SentenceEncoder(), cache)])
    scores: Tensor = adapters.scale * adapters.text(read) @ adapters.image(torch.cat(seen)).T
    return scores


def recall(scores: Tensor) -> Recall:
    """Return both recalls of scores (n t, n), where sentence i belongs to picture i // t."""
    count = scores.shape[1]
    owner = torch.arange(len(scores)) // (len(scores) // count)
    others = owner[:, None] != torch.arange(count)
    # What scores the same stands before it: a constant score finds nothing.
    picture_ranks = (scores >= scores.gather(1, owner[:, None])).sum(dim=1)
    # Of a picture's own sentences the best counts; those beside it are right as well.
    best = scores.masked_fill(others, -torch.inf).amax(dim=0)
    sentence_ranks = 1 + ((scores >= best) & others).sum(dim=0)
    return Recall(_fractions(picture_ranks), _fractions(sentence_ranks))


def _fractions(ranks: Tensor) -> tuple[float, ...]:
    return tuple(float((ranks <= most).float().mean()) for most in RANKS)
