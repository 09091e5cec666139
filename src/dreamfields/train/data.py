"""Training data: images through the frozen tower and sentences through the encoder, once."""

import hashlib
import json
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch

from dreamfields.errors import UsageError
from dreamfields.guidance.lit.classes import class_names
from dreamfields.guidance.lit.text import SentenceEncoder
from dreamfields.guidance.lit.towers import Tower
from dreamfields.guidance.lit.weights import LITE0, LITE1, LITE2
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.train.features import Advance, collect, picture_features, sentence_embeddings
from dreamfields.train.fit import TrainingData
from dreamfields.train.pairs import Pair, PairSet, read_pairs
from dreamfields.train.settings import TuningSettings
from dreamfields.train.views import VIEWS

DESCRIPTIONS = 10  # Most sentences of a class that are taken from a file of descriptions
TOWERS = {source.name: source for source in (LITE0, LITE1, LITE2)}
_COUNTED = re.compile(r"(.+)@([1-9][0-9]*)")
_TEMPLATES = ("a {}", "a photo of a {}", "a 3D render of a {}")


@dataclass(frozen=True)
class Selection:
    """Images of a set that are trained on."""

    origin: PairSet
    pairs: tuple[Pair, ...]


def choose(places: Sequence[str]) -> list[Selection]:
    """Return the training images of all sets, each a folder or COCO captions; `@N` takes the first N images only.

    Raises UsageError: a set cannot be read or has no image to train on.
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
    """Return m sentences about each of c classes: its name in templates, then descriptions if a file is given.

    The file is JSON with sentences by class name, as published with CuPL (Pratt et al., ICCV 2023).

    Raises UsageError: the file cannot be read, or lacks a class.
    """
    named = [[template.format(name) for template in _TEMPLATES] for name in class_names()]
    if path is None:
        return named
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        described = [[sentence.strip() for sentence in content[name][:DESCRIPTIONS]] for name in class_names()]
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as sentences by class name: {error!r}") from error
    rows = [names + more for names, more in zip(named, described, strict=True)]
    longest = max(map(len, rows))
    return [(row * longest)[:longest] for row in rows]


def gather(
    chosen: Sequence[Selection], descriptions: list[list[str]], settings: TuningSettings, cache: Path
) -> Generator[Advance, None, TrainingData]:
    """Compute the features of all images and the embeddings of all sentences, yielding progress; reuse the cache.

    Raises:
        MissingPackageError: the weights of the tower or the encoder are not installed.
        UsageError: an image is missing or cannot be read.
        StorageError: the cache cannot be written.
    """
    tower = Tower(TOWERS[settings.tower])
    total = sum(len(part.pairs) for part in chosen)
    views = []
    for view in range(VIEWS):
        parts = (picture_features(part.origin, part.pairs, view, tower, settings.precision, cache) for part in chosen)
        stage = f"{settings.tower} sees images, view {view + 1} of {VIEWS}:"
        views.append(torch.cat((yield from collect(chain.from_iterable(parts), stage, total))))
    index: dict[str, int] = {}
    caption_ids = [
        [index.setdefault(text, len(index)) for text in pair.texts] for part in chosen for pair in part.pairs
    ]
    texts = [*index, *(sentence for row in descriptions for sentence in row)]
    chunks = sentence_embeddings(texts, SentenceEncoder(), cache)
    embeddings = torch.cat((yield from collect(chunks, "sentences read:", len(texts))))
    most = max(map(len, caption_ids))
    draws = torch.rand(len(caption_ids), generator=seeded_generator(settings.seed, "validation"))
    return TrainingData(
        torch.stack(views),
        embeddings[: len(index)],
        torch.tensor([(row * most)[:most] for row in caption_ids]),
        draws < settings.validation,
        embeddings[len(index) :].unflatten(0, (len(descriptions), -1)),
        tower.class_weight,
        tower.class_bias,
    )


def digest(chosen: Sequence[Selection], descriptions: list[list[str]], settings: TuningSettings) -> str:
    """Return a digest that identifies one training: images by name, captions, descriptions and settings."""
    sets = [[part.origin.name, [[pair.image, pair.texts] for pair in part.pairs]] for part in chosen]
    content = json.dumps([sets, descriptions, settings.to_json()])
    return hashlib.sha256(content.encode()).hexdigest()[:24]
