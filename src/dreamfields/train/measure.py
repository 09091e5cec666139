"""Measuring adapters on what is held out of a set: recall of captions, or questions about 3D models.

The score of an ensemble is the mean of its members' logits.
"""

from collections.abc import Callable, Generator, Sequence
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
from dreamfields.train.questions import answered, chance, questions
from dreamfields.train.recall import RANKS, recall
from dreamfields.train.sets import read_set
from dreamfields.train.shapes import ShapeSet
from dreamfields.train.views import PLAIN


@dataclass(frozen=True)
class Examination:
    """What adapters are asked about pictures."""

    title: str  # The set and its size, in words
    sentences: list[str]
    headings: list[str]
    figures: Callable[[Tensor], list[float]]  # One for each heading, of the logits (n, s) of n pictures, s sentences
    chance: list[float]  # The same of whoever guesses; empty if it is not told


@dataclass(frozen=True)
class Measurement:
    """Figures in [0, 1] of adapters on one set."""

    title: str
    headings: list[str]
    rows: dict[str, list[float]]  # By tower; the ensemble of those that guide as `lite0+lite2`


def measure(place: str, files: Sequence[Path], count: int, cache: Path) -> Generator[Advance, None, Measurement]:
    """Measure adapters, the shipped ones if no files are given, on at most `count` held-out images or models of a set.

    Yields progress. Raises DreamfieldsError: the set cannot be used, or weights are missing.
    """
    pictures = read_set(place)
    pairs = heldout(pictures, count)
    asked = about_models(pictures, pairs) if isinstance(pictures, ShapeSet) else about_captions(pictures, pairs)
    shipped = (*GUIDING_ADAPTERS, JUDGE_ADAPTERS)
    trained = [read_adapters(path) for path in files] or [packaged_adapters(source) for source in shipped]
    scores: dict[str, Tensor] = {}
    for adapters in trained:
        scores[adapters.tower] = yield from logits(adapters, pictures, pairs, asked.sentences, cache)
    guiding = [name for name in scores if name != JUDGE_TOWER.name]
    if len(guiding) > 1:
        scores["+".join(guiding)] = torch.stack([scores[name] for name in guiding]).mean(dim=0)
    rows = {name: asked.figures(found) for name, found in scores.items()}
    return Measurement(asked.title, asked.headings, rows | ({"chance": asked.chance} if asked.chance else {}))


def heldout(pictures: Pictures, count: int) -> list[Pair]:
    """Return the held-out images of a set, of the first `count` images or models. Raises UsageError: there are none."""
    pairs = [pair for pair in pictures.pairs if pair.split == "heldout"]
    things = set(list(dict.fromkeys(pair.group or pair.image for pair in pairs))[:count])
    if not pairs:
        raise UsageError(f'{pictures.name} has no held-out pictures; mark some in pairs.jsonl with "split": "heldout"')
    return [pair for pair in pairs if (pair.group or pair.image) in things]


def about_captions(pictures: Pictures, pairs: Sequence[Pair]) -> Examination:
    """Ask for the image of each caption, and for a caption of each image.

    Raises UsageError: numbers of captions differ.
    """
    if len({len(pair.texts) for pair in pairs}) > 1:
        raise UsageError(f"the held-out pictures of {pictures.name} must all have the same number of sentences")

    def figures(scores: Tensor) -> list[float]:
        found = recall(scores.T)
        return [*found.pictures, *found.sentences]

    title = f"{len(pairs)} held-out images of {pictures.name}, {len(pairs[0].texts)} sentences each"
    headings = [f"{way} R@{rank}" for way in ("text to image", "image to text") for rank in RANKS]
    return Examination(title, [text for pair in pairs for text in pair.texts], headings, figures, [])


def about_models(pictures: ShapeSet, pairs: Sequence[Pair]) -> Examination:
    """Ask what `questions` asks about renderings of models whose names are held out."""
    asked = questions(pictures, pairs)
    sentences = sorted({sentence for some in asked.values() for one in some for sentence in one.sentences})

    kinds = [(kind, within) for kind in asked for within in ((1, 5) if kind.startswith("name") else (1,))]

    def figures(scores: Tensor) -> list[float]:
        return [answered(asked[kind], sentences, scores, within) for kind, within in kinds]

    headings = [f"{kind} R@{within}" for kind, within in kinds]
    guessed = [chance(asked[kind], within) for kind, within in kinds]
    title = f"{len(pairs)} renderings of {len({pair.group for pair in pairs})} held-out models of {pictures.name}"
    return Examination(title, sentences, headings, figures, guessed)


def logits(
    adapters: Adapters, images: Pictures, pairs: Sequence[Pair], sentences: Sequence[str], cache: Path
) -> Generator[Advance, None, Tensor]:
    """Return the logits (n, s) of s sentences for n images, in full precision, yielding progress."""
    chunks = picture_features(images, pairs, PLAIN, Tower(TOWERS[adapters.tower]), "fp32", cache)
    features = yield from collect(chunks, f"{adapters.tower} sees images:", len(pairs))
    embeddings = torch.cat([chunk.values for chunk in sentence_embeddings(sentences, SentenceEncoder(), cache)])
    with torch.no_grad():
        scores: Tensor = adapters.scale * adapters.image(features) @ adapters.text(embeddings).T
    return scores
