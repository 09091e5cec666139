"""From places on disk to what training reads: pictures through the tower, sentences through the encoder, once."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.guidance.lit.classes import class_names
from dreamfields.guidance.lit.text import SentenceEncoder
from dreamfields.guidance.lit.towers import Tower
from dreamfields.guidance.lit.weights import LITE0, LITE1, LITE2
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.train.countdown import ProgressBar
from dreamfields.train.features import picture_features, sentence_embeddings
from dreamfields.train.fit import TrainingData
from dreamfields.train.pairs import Pair, PairSet, read_pairs
from dreamfields.train.settings import TuningSettings
from dreamfields.train.views import VIEWS

DESCRIPTIONS = 10
"""Sentences a class takes from a file of descriptions, at most."""
TOWERS = {source.name: source for source in (LITE0, LITE1, LITE2)}
_COUNTED = re.compile(r"(.+)@([1-9][0-9]*)")
_TEMPLATES = ("a {}", "a photo of a {}", "a 3D render of a {}")


@dataclass(frozen=True)
class Selection:
    """The pictures of a set that are trained on."""

    origin: PairSet
    pairs: tuple[Pair, ...]


def choose(places: Sequence[str]) -> list[Selection]:
    """Return the training pictures of all places, each a folder or COCO captions, with `@N` for its first N only.

    Raises:
        UsageError: a place cannot be read, or has no picture to train on.
    """
    chosen = []
    for place in places:
        counted = _COUNTED.fullmatch(place)
        origin = read_pairs(counted[1] if counted else place)
        training = [pair for pair in origin.pairs if pair.split == "train"]
        pairs = training[: int(counted[2])] if counted else training
        if not pairs:
            raise UsageError(f"{place} has only held-out pictures, which are never trained on")
        chosen.append(Selection(origin, tuple(pairs)))
    return chosen


def read_descriptions(path: Path | None) -> list[list[str]]:
    """Return sentences (c, m) about each class: its name in templates, then descriptions of it if there is a file.

    The file is JSON, sentences by class name, as CuPL (Pratt et al., ICCV 2023) publishes them.

    Raises:
        UsageError: the file cannot be read, or lacks a class.
    """
    named = [[template.format(name) for template in _TEMPLATES] for name in class_names()]
    if path is None:
        return named
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        described = [[sentence.strip() for sentence in told[name][:DESCRIPTIONS]] for name in class_names()]
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as sentences by class name: {error!r}") from error
    rows = [names + more for names, more in zip(named, described, strict=True)]
    longest = max(map(len, rows))
    return [(row * longest)[:longest] for row in rows]


def gather(
    chosen: Sequence[Selection], descriptions: list[list[str]], settings: TuningSettings, cache: Path, console: Console
) -> TrainingData:
    """Let the tower see all pictures and the encoder read all sentences; what was done before is read from the cache.

    Raises:
        MissingPackageError: the weights of the tower or the encoder are not installed.
        UsageError: a picture is missing or cannot be read.
        StorageError: the cache cannot be written.
    """
    tower = Tower(TOWERS[settings.tower])
    views = [_view(chosen, view, tower, settings, cache, console) for view in range(VIEWS)]
    index: dict[str, int] = {}
    caption_ids = [
        [index.setdefault(text, len(index)) for text in pair.texts] for part in chosen for pair in part.pairs
    ]
    flat = [sentence for row in descriptions for sentence in row]
    embeddings = _embed([*index, *flat], cache, console)
    most = max(map(len, caption_ids))
    draws = seeded_generator(settings.seed, "validation")
    return TrainingData(
        torch.stack(views),
        embeddings[: len(index)],
        torch.tensor([(row * most)[:most] for row in caption_ids]),
        torch.rand(len(caption_ids), generator=draws) < settings.validation,
        embeddings[len(index) :].unflatten(0, (len(descriptions), -1)),
        tower.class_weight,
        tower.class_bias,
    )


def _view(
    chosen: Sequence[Selection], view: int, tower: Tower, settings: TuningSettings, cache: Path, console: Console
) -> Tensor:
    total = sum(len(part.pairs) for part in chosen)
    found = []
    with ProgressBar(console, f"{settings.tower} sees pictures, view {view + 1} of {VIEWS}:", total) as countdown:
        for part in chosen:
            chunks = picture_features(part.origin, part.pairs, view, tower, settings.precision, cache)
            for chunk in chunks:
                found.append(chunk.values)
                countdown.advance(len(chunk.values), chunk.kept)
    return torch.cat(found)


def _embed(sentences: Sequence[str], cache: Path, console: Console) -> Tensor:
    found = []
    with ProgressBar(console, "sentences read:", len(sentences)) as countdown:
        for chunk in sentence_embeddings(sentences, SentenceEncoder(), cache):
            found.append(chunk.values)
            countdown.advance(len(chunk.values), chunk.kept)
    return torch.cat(found)


def digest(chosen: Sequence[Selection], descriptions: list[list[str]], settings: TuningSettings) -> str:
    """Return what tells one training from all others: the pictures by name, what is said of them, the settings."""
    told = [[part.origin.name, [[pair.image, pair.texts] for pair in part.pairs]] for part in chosen]
    content = json.dumps([told, descriptions, settings.to_json()])
    return hashlib.sha256(content.encode()).hexdigest()[:24]
