"""What the locked towers make of pictures and sentences, kept on disk: it never changes, and training needs it often.

Features are computed in chunks, each a file of its own under a name that says what is in it: a digest of the pictures,
the view, the tower and the precision. A stopped computation goes on at the first chunk that is missing; a changed set
gets new files. The files may be deleted at any time.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from dreamfields.guidance.lit.text import SentenceEncoder
from dreamfields.guidance.lit.towers import Tower
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.storage import atomic_write
from dreamfields.train.pairs import Pair, PairSet
from dreamfields.train.settings import Precision
from dreamfields.train.views import show

VERSION = 1
"""Of the views and of what is kept; part of every file's name."""
CHUNK = 512
_BATCH = 8
_SENTENCES = 2048


@dataclass(frozen=True)
class Chunk:
    """What a tower made of some pictures or sentences."""

    values: Tensor
    """(n, f), float32."""
    kept: bool
    """Whether it was known from before."""


def picture_features(
    pictures: PairSet, chosen: Sequence[Pair], view: int, tower: Tower, precision: Precision, cache: Path
) -> Iterator[Chunk]:
    """Yield the features of the chosen pictures of a set in one view, chunk by chunk, computed or read.

    Raises:
        UsageError: a picture is missing or cannot be read.
        StorageError: the cache cannot be written.
    """
    for begin in range(0, len(chosen), CHUNK):
        part = chosen[begin : begin + CHUNK]
        facts = [VERSION, pictures.name, _state(pictures), [pair.image for pair in part], view]
        path = cache / f"{pictures.name}-{tower.source.name}-{view}-{_digest(facts, tower.source.sha256, precision)}"
        features = _read(path, "features")
        kept = features is not None and len(features) == len(part)
        if not kept:
            shown = [
                show(picture, view, seeded_generator(0, f"{pictures.name}/{pair.image}", view))
                for pair, picture in zip(part, pictures.pictures(part), strict=True)
            ]
            features = look(shown, tower, precision).half()
            atomic_write(path, safetensors.torch.save({"features": features}))
        assert features is not None
        yield Chunk(features.float(), kept)


@torch.no_grad()
def look(shown: Sequence[Tensor], tower: Tower, precision: Precision) -> Tensor:
    """Return features and levels, side by side (n, f), of n pictures (3, s, s), not all of one size."""
    found: dict[int, Tensor] = {}
    for size in sorted({picture.shape[-1] for picture in shown}):
        of_size = [index for index, picture in enumerate(shown) if picture.shape[-1] == size]
        for begin in range(0, len(of_size), _BATCH):
            batch = of_size[begin : begin + _BATCH]
            images = torch.stack([shown[index] for index in batch])
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                seen = torch.cat(tower.levels(images), dim=-1)
            found |= dict(zip(batch, seen, strict=True))
    return torch.stack([found[index] for index in range(len(shown))])


def sentence_embeddings(sentences: Sequence[str], encoder: SentenceEncoder, cache: Path) -> Iterator[Chunk]:
    """Yield the embeddings of sentences, chunk by chunk, computed or read, in the order given."""
    for begin in range(0, len(sentences), _SENTENCES):
        part = sentences[begin : begin + _SENTENCES]
        path = cache / f"text-{_digest(VERSION, list(part))}"
        embeddings = _read(path, "embeddings")
        kept = embeddings is not None and len(embeddings) == len(part)
        if not kept:
            # Sentences of one length together: what pads the short ones up to the longest costs as much as they do.
            order = sorted(range(len(part)), key=lambda index: len(part[index]))
            encoded = encoder.encode([part[index] for index in order])
            embeddings = torch.empty_like(encoded)
            embeddings[order] = encoded
            atomic_write(path, safetensors.torch.save({"embeddings": embeddings}))
        assert embeddings is not None
        yield Chunk(embeddings, kept)


def _read(path: Path, name: str) -> Tensor | None:
    """Return what a file of the cache holds; None if it is not there or not whole, for it can be made again."""
    try:
        return safetensors.torch.load(path.read_bytes())[name]
    except (OSError, SafetensorError, KeyError):
        return None


def _state(pictures: PairSet) -> list[int]:
    """Return what changes when the pictures of a set do, without reading them all."""
    facts = pictures.images.stat()
    return [facts.st_size, facts.st_mtime_ns]


def _digest(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24] + ".safetensors"
