"""Recall at 1, 5 and 10 of held-out images by their sentences, and of sentences by their image.

Notation: n images with t sentences each; the score of an ensemble is the mean of its members' logits.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.guidance.lit.adapters import Adapters, packaged_adapters, read_adapters
from dreamfields.guidance.lit.towers import SentenceEncoder, Tower
from dreamfields.guidance.lit.weights import GUIDING_ADAPTERS, JUDGE_ADAPTERS, JUDGE_TOWER
from dreamfields.train.features import TOWERS, Advance, collect, picture_features, sentence_embeddings
from dreamfields.train.pairs import Pair, Pictures
from dreamfields.train.sets import read_set
from dreamfields.train.views import PLAIN

RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Recall:
    """Fractions in [0, 1] of queries whose answer is among the first `RANKS`."""

    pictures: tuple[float, ...]  # Text to image: fraction of sentences whose image is found
    sentences: tuple[float, ...]  # Image to text: fraction of images one of whose sentences is found


@dataclass(frozen=True)
class Measurement:
    """Recall of adapters on one set."""

    title: str  # The set and its size, in words
    recalls: dict[str, Recall]  # By tower; the ensemble of those that guide as `lite0+lite2`


def measure(place: str, files: Sequence[Path], count: int, cache: Path) -> Generator[Advance, None, Measurement]:
    """Measure adapters, the shipped ones if no files are given, on at most `count` held-out images of a set.

    Yields progress. Raises DreamfieldsError: the set cannot be used, or weights are missing.
    """
    pictures = read_set(place)
    pairs = heldout(pictures, count)
    shipped = (*GUIDING_ADAPTERS, JUDGE_ADAPTERS)
    trained = [read_adapters(path) for path in files] or [packaged_adapters(source) for source in shipped]
    scores: dict[str, Tensor] = {}
    for adapters in trained:
        scores[adapters.tower] = yield from logits(adapters, pictures, pairs, cache)
    guiding = [name for name in scores if name != JUDGE_TOWER.name]
    if len(guiding) > 1:
        scores["+".join(guiding)] = torch.stack([scores[name] for name in guiding]).mean(dim=0)
    title = f"{len(pairs)} held-out images of {pictures.name}, {len(pairs[0].texts)} sentences each"
    return Measurement(title, {name: recall(found) for name, found in scores.items()})


def heldout(pictures: Pictures, count: int) -> tuple[Pair, ...]:
    """Return the first `count` held-out images. Raises UsageError: there are none, or numbers of sentences differ."""
    pairs = [pair for pair in pictures.pairs if pair.split == "heldout"][:count]
    if not pairs:
        raise UsageError(f'{pictures.name} has no held-out pictures; mark some in pairs.jsonl with "split": "heldout"')
    if len({len(pair.texts) for pair in pairs}) > 1:
        raise UsageError(f"the held-out pictures of {pictures.name} must all have the same number of sentences")
    return tuple(pairs)


def logits(
    adapters: Adapters, images: Pictures, pairs: Sequence[Pair], cache: Path
) -> Generator[Advance, None, Tensor]:
    """Return the logits (n t, n) of all sentences for all images, in full precision, yielding progress."""
    chunks = picture_features(images, pairs, PLAIN, Tower(TOWERS[adapters.tower]), "fp32", cache)
    features = yield from collect(chunks, f"{adapters.tower} sees images:", len(pairs))
    texts = [text for pair in pairs for text in pair.texts]
    embeddings = torch.cat([chunk.values for chunk in sentence_embeddings(texts, SentenceEncoder(), cache)])
    with torch.no_grad():
        scores: Tensor = adapters.scale * adapters.text(embeddings) @ adapters.image(features).T
    return scores


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
