"""Training adapters from sets of images with captions to a file: features, embeddings, fitting."""

import hashlib
import json
import re
from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import torch

from dreamfields.errors import UsageError
from dreamfields.guidance.lit.adapters import adapters_bytes
from dreamfields.guidance.lit.towers import SentenceEncoder, Tower, class_names
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.train.features import TOWERS, Advance, collect, picture_features, sentence_embeddings
from dreamfields.train.fit import TrainingData, fit, restored
from dreamfields.train.negatives import MOST, hard_negatives
from dreamfields.train.pairs import Pictures
from dreamfields.train.sets import read_set
from dreamfields.train.settings import TuningSettings
from dreamfields.train.views import VIEWS

DESCRIPTIONS = 10  # Most sentences of a class that are taken from a file of descriptions
_T = TypeVar("_T")
_COUNTED = re.compile(r"(.+)@([1-9][0-9]*)")
_TEMPLATES = ("a {}", "a photo of a {}", "a 3D render of a {}")


def train_adapters(
    places: Sequence[str], descriptions: Path | None, settings: TuningSettings, cache: Path
) -> Generator[Advance, None, bytes]:
    """Train adapters, yielding progress, and return the content of their file; see `choose` and `read_descriptions`.

    Raises DreamfieldsError: data cannot be used, weights are missing, or the cache cannot be written.
    """
    chosen, sentences = choose(places), read_descriptions(descriptions)
    data = yield from gather(chosen, sentences, settings, cache)
    sets = [[part.name, [[pair.image, pair.texts] for pair in part.pairs]] for part in chosen]
    identity = json.dumps([sets, sentences, settings.to_json()]).encode()
    saved = cache / f"training-{hashlib.sha256(identity).hexdigest()[:24]}.safetensors"
    stage = f"{data.views.shape[1]} images, {len(data.sentences)} sentences; epochs:"
    progress = start = restored(data, settings, saved)
    yield Advance(stage, settings.epochs, progress.epoch, cached=True)
    for progress in fit(start, data, settings, saved):
        best = " (best)" if progress.best_epoch == progress.epoch else ""
        note = f"loss {progress.loss:.3f}, mean reciprocal rank {progress.score:.3f}{best}"
        yield Advance(stage, settings.epochs, 1, note=note)
    progress.adapters.load_state_dict(progress.best_state)
    facts = {
        "sets": ", ".join(f"{part.name} {len(part.pairs)}" for part in chosen),
        "seed": str(settings.seed),
        "epoch": str(progress.best_epoch),
        "validation_found": f"{progress.best_score:.4f}",
    }
    return adapters_bytes(progress.adapters, facts)


def choose(places: Sequence[str]) -> list[Pictures]:
    """Return the training images of sets named as in `read_set`, and `@N` for the first N images only.

    A set that is named several times is there several times, so that its images are drawn more often.

    Raises UsageError: a set cannot be read or has no image to train on.
    """
    chosen = list[Pictures]()
    for place in places:
        counted = _COUNTED.fullmatch(place)
        origin = read_set(counted[1] if counted else place)
        pairs = [pair for pair in origin.pairs if pair.split == "train"][: int(counted[2]) if counted else None]
        if not pairs:
            raise UsageError(f"{place} has only held-out pictures, which are never trained on")
        chosen.append(replace(origin, pairs=tuple(pairs)))
    return chosen


def read_descriptions(path: Path | None) -> list[list[str]]:
    """Return m sentences about each of c classes: its name in templates, then descriptions if a file is given.

    The file is JSON with sentences by class name, as published with CuPL (Pratt et al., ICCV 2023). Raises UsageError:
    it cannot be read or lacks a class.
    """
    named = [[template.format(name) for template in _TEMPLATES] for name in class_names()]
    if path is None:
        return named
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        described = [[sentence.strip() for sentence in content[name][:DESCRIPTIONS]] for name in class_names()]
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as sentences by class name: {error!r}") from error
    return _filled([names + more for names, more in zip(named, described, strict=True)])


def gather(
    chosen: Sequence[Pictures], descriptions: list[list[str]], settings: TuningSettings, cache: Path
) -> Generator[Advance, None, TrainingData]:
    """Compute the features of all images and the embeddings of all sentences, yielding progress; reuse the cache.

    Raises DreamfieldsError: weights are missing, an image cannot be read, or the cache cannot be written.
    """
    tower, views = Tower(TOWERS[settings.tower]), []
    pairs = [pair for part in chosen for pair in part.pairs]
    for view in range(VIEWS):
        parts = (picture_features(part, part.pairs, view, tower, settings.precision, cache) for part in chosen)
        stage = f"{settings.tower} sees images, view {view + 1} of {VIEWS}:"
        views.append((yield from collect(chain.from_iterable(parts), stage, len(pairs))))
    index: dict[str, int] = {}
    caption_ids = [[index.setdefault(text, len(index)) for text in pair.texts] for pair in pairs]
    against = [[index.setdefault(text, len(index)) for text in hard_negatives(caption)] for caption in list(index)]
    negatives = torch.full((len(index), MOST), -1)
    for caption, wrong in enumerate(against):
        negatives[caption, : len(wrong)] = torch.tensor(wrong)
    texts = [*index, *chain.from_iterable(descriptions)]
    embeddings = yield from collect(sentence_embeddings(texts, SentenceEncoder(), cache), "sentences read:", len(texts))
    things = [(part.name, pair.group or pair.image) for part in chosen for pair in part.pairs]
    order = {thing: index for index, thing in enumerate(dict.fromkeys(things))}
    draws = torch.rand(len(order), generator=seeded_generator(settings.seed, "validation"))
    return TrainingData(
        torch.stack(views),
        embeddings[: len(index)],
        torch.tensor(_filled(caption_ids)),
        negatives,
        draws[[order[thing] for thing in things]] < settings.validation,
        embeddings[len(index) :].unflatten(0, (len(descriptions), -1)),
        tower.class_weight,
        tower.class_bias,
    )


def _filled(rows: list[list[_T]]) -> list[list[_T]]:
    """Return rows of equal length, the shorter ones filled up by repeating them."""
    longest = max(map(len, rows))
    return [(row * longest)[:longest] for row in rows]
