"""Features of views of images and embeddings of sentences by the frozen towers, cached on disk for the next training.

They are computed in chunks. Each chunk is a file whose name is a digest of the images, the view, the tower and the
precision, so an interrupted computation resumes at the first missing chunk and a changed set gets new files. The files
may be deleted at any time.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from dreamfields.guidance.lit.towers import SentenceEncoder, Tower
from dreamfields.guidance.lit.weights import LITE0, LITE1, LITE2
from dreamfields.reprs import short_repr
from dreamfields.storage import atomic_write
from dreamfields.train.pairs import Pair, Pictures
from dreamfields.train.settings import Precision

TOWERS: Final = {source.name: source for source in (LITE0, LITE1, LITE2)}
VERSION = 1  # Version of the views and of the cached values; part of every file's name
CHUNK = 512
_BATCH = 8
_SENTENCES = 2048


@dataclass(frozen=True)
class Chunk:
    """Features or embeddings of some images or sentences."""

    values: Tensor  # (n, f), float32
    cached: bool  # Whether they were read from the cache

    __repr__ = short_repr


@dataclass(frozen=True)
class Advance:
    """Progress of one stage of work, for a command to show."""

    stage: str  # What is being done
    total: int  # Pieces of work in the stage
    pieces: int  # Pieces that were just done
    cached: bool = False  # Whether they took no time since they were cached
    note: str = ""  # Text to print beside it


def collect(chunks: Iterator[Chunk], stage: str, total: int) -> Generator[Advance, None, Tensor]:
    """Run through chunks, yielding the progress of each, and return their values one after another."""
    values = []
    for chunk in chunks:
        values.append(chunk.values)
        yield Advance(stage, total, len(chunk.values), chunk.cached)
    return torch.cat(values)


def picture_features(
    pictures: Pictures, chosen: Sequence[Pair], view: int, tower: Tower, precision: Precision, cache: Path
) -> Iterator[Chunk]:
    """Yield the features (n, f) of images of a set in one view, chunk by chunk, computed or read from the cache.

    Raises UsageError: an image is missing or cannot be read; StorageError: the cache cannot be written.
    """

    def compute(part: Sequence[Pair]) -> Tensor:
        return tower_features(list(pictures.shown(part, view)), tower, precision).half()

    content = pictures.facts()
    for begin in range(0, len(chosen), CHUNK):
        part = chosen[begin : begin + CHUNK]
        facts = [VERSION, pictures.name, content, [pair.image for pair in part], view]
        digest = _digest(facts, tower.source.weights.sha256, precision)
        path = cache / f"{pictures.name}-{tower.source.name}-{view}-{digest}"
        yield _chunk(path, "features", len(part), partial(compute, part))


@torch.no_grad()
def tower_features(shown: Sequence[Tensor], tower: Tower, precision: Precision) -> Tensor:
    """Return features and levels, concatenated to (n, f), of n images (3, s, s) in [0, 1] of several sizes."""
    found: dict[int, Tensor] = {}
    for size in sorted({picture.shape[-1] for picture in shown}):
        of_size = [index for index, picture in enumerate(shown) if picture.shape[-1] == size]
        for begin in range(0, len(of_size), _BATCH):
            batch = of_size[begin : begin + _BATCH]
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                features = torch.cat(tower.levels(torch.stack([shown[index] for index in batch])), dim=-1)
            found |= dict(zip(batch, features, strict=True))
    return torch.stack([found[index] for index in range(len(shown))])


def sentence_embeddings(sentences: Sequence[str], encoder: SentenceEncoder, cache: Path) -> Iterator[Chunk]:
    """Yield the embeddings (n, e) of sentences in order, chunk by chunk, computed or read from the cache."""

    def compute(part: Sequence[str]) -> Tensor:
        # Sorted by length: padding short sentences up to the longest of a batch costs as much as the sentences.
        order = sorted(range(len(part)), key=lambda index: len(part[index]))
        encoded = encoder.encode([part[index] for index in order])
        return encoded[torch.tensor(order).argsort()]

    for begin in range(0, len(sentences), _SENTENCES):
        part = sentences[begin : begin + _SENTENCES]
        yield _chunk(cache / f"text-{_digest(VERSION, list(part))}", "embeddings", len(part), partial(compute, part))


def _chunk(path: Path, name: str, count: int, compute: Callable[[], Tensor]) -> Chunk:
    """Return the values of a cache file, computed and written where it is missing or damaged."""
    with suppress(OSError, SafetensorError, KeyError):
        values = safetensors.torch.load(path.read_bytes())[name]
        if len(values) == count:
            return Chunk(values.float(), True)
    values = compute()
    atomic_write(path, safetensors.torch.save({name: values}))
    return Chunk(values.float(), False)


def _digest(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24] + ".safetensors"
