"""Features of views of images and embeddings of sentences by the frozen towers, cached on disk for the next training.

They are computed in chunks. Each chunk is a file whose name is a digest of the images, the view, the tower and the
precision, so an interrupted computation resumes at the first missing chunk and a changed set gets new files. The files
may be deleted at any time.

An image has two views. A *photograph* gives its middle square, and then a random crop, mirrored or not. A *cut-out*, an
image whose backdrop is one even colour, gives its object in front of random backgrounds of generation instead, scaled
and shifted: adapters trained on objects on white only would learn the white as a part of them.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from safetensors import SafetensorError
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.lit.towers import SentenceEncoder, Tower
from dreamfields.guidance.lit.weights import LITE0, LITE1, LITE2
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.render.backgrounds import draw_backgrounds
from dreamfields.render.settings import BackgroundSettings
from dreamfields.reprs import short_repr
from dreamfields.storage import atomic_write
from dreamfields.train.pairs import Pair, PairSet
from dreamfields.train.settings import Precision

TOWERS: Final = {source.name: source for source in (LITE0, LITE1, LITE2)}
VERSION = 1  # Version of the views and of the cached values; part of every file's name
CHUNK = 512
_BATCH = 8
_SENTENCES = 2048
VIEWS = 2  # Views of each image
PLAIN = -1  # View index for measuring: the image as it is, cut-out or not
PLAIN_SIZE, VARIED_SIZE = 224, 160  # Pixels a side: the towers' own, and fewer, since the images of a run are small
_TOLERANCE = 0.06  # Largest difference of a backdrop's pixel from its colour


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
    pictures: PairSet, chosen: Sequence[Pair], view: int, tower: Tower, precision: Precision, cache: Path
) -> Iterator[Chunk]:
    """Yield the features (n, f) of images of a set in one view, chunk by chunk, computed or read from the cache.

    Raises UsageError: an image is missing or cannot be read; StorageError: the cache cannot be written.
    """

    def compute(part: Sequence[Pair]) -> Tensor:
        draws = [seeded_generator(0, f"{pictures.name}/{pair.image}", view) for pair in part]
        shown = [show(picture, view, draw) for picture, draw in zip(pictures.pictures(part), draws, strict=True)]
        return tower_features(shown, tower, precision).half()

    # Size and time of the file or folder of images change with its content, and take no reading.
    stat = pictures.images.stat()
    state = [stat.st_size, stat.st_mtime_ns]
    for begin in range(0, len(chosen), CHUNK):
        part = chosen[begin : begin + CHUNK]
        facts = [VERSION, pictures.name, state, [pair.image for pair in part], view]
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


def show(picture: Image.Image, view: int, generator: torch.Generator) -> Tensor:
    """Return a view, from 0 or PLAIN, of an RGB image of any size: (3, s, s) in [0, 1], with s one of the two sizes."""
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1) / 255.0
    behind = None if view == PLAIN else backdrop(pixels)
    if behind is None and view <= 0:
        return _scaled(middle_square(pixels), [PLAIN_SIZE] * 2)
    if _draw(generator, 0.0, 1.0) < 0.5:
        pixels, behind = pixels.flip(2), None if behind is None else behind.flip(1)
    if behind is None:
        return _scaled(_random_part(pixels, generator), [VARIED_SIZE] * 2)
    return _recomposed(pixels, behind, VARIED_SIZE, generator)


def middle_square(pixels: Tensor) -> Tensor:
    """Return the largest middle square of an image (c, h, w)."""
    side = min(pixels.shape[1:])
    top, left = ((extent - side) // 2 for extent in pixels.shape[1:])
    return pixels[:, top : top + side, left : left + side]


def backdrop(pixels: Tensor) -> Tensor | None:
    """Return the mask (h, w) of 0 and 1 of the even backdrop of an image (3, h, w); None if it has none.

    It is the region connected to the border that has the border's colour; nearly the whole border must have that
    colour, and the region must not fill the image.
    """
    border = torch.cat([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], dim=1)
    colour = border.median(dim=1).values
    if ((border - colour[:, None]).abs().amax(dim=0) < _TOLERANCE).float().mean() < 0.95:
        return None
    even = ((pixels - colour[:, None, None]).abs().amax(dim=0) < _TOLERANCE).numpy()
    parts, _ = ndimage.label(even)
    outer = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    mask = torch.from_numpy(np.isin(parts, outer[outer > 0])).float()
    return mask if mask.mean() < 0.98 else None


def _random_part(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random crop (3, h', w') of an image."""
    side = min(pixels.shape[1:]) * _draw(generator, 0.6, 1.0)
    stretch = _draw(generator, 0.8, 1.25) ** 0.5
    height = max(1, min(pixels.shape[1], round(side * stretch)))
    width = max(1, min(pixels.shape[2], round(side * (1.0 / stretch))))
    top = round(_draw(generator, 0.0, 1.0) * (pixels.shape[1] - height))
    left = round(_draw(generator, 0.0, 1.0) * (pixels.shape[2] - width))
    return pixels[:, top : top + height, left : left + width]


def _recomposed(pixels: Tensor, behind: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return the object, a little larger or smaller and shifted, in front of a random background."""
    rows, columns = torch.nonzero(behind.amin(dim=1) < 1.0)[:, 0], torch.nonzero(behind.amin(dim=0) < 1.0)[:, 0]
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    layer = torch.cat([pixels, 1.0 - behind[None]])[:, box[0], box[1]]
    scale = max(1, round(size * _draw(generator, 0.7, 1.1))) / max(layer.shape[1:])
    shape = [max(1, round(extent * scale)) for extent in layer.shape[1:]]
    canvas = torch.zeros(4, 2 * size, 2 * size)
    top, left = (round(size - extent / 2 + _draw(generator, -0.1, 0.1) * size) for extent in shape)
    canvas[:, top : top + shape[0], left : left + shape[1]] = _scaled(layer, shape)
    canvas = canvas[:, size // 2 : size // 2 + size, size // 2 : size // 2 + size]
    background = draw_backgrounds(BackgroundSettings(), 1, size, generator)[0]
    return canvas[:3] * canvas[3:] + background * (1.0 - canvas[3:])


def _scaled(pixels: Tensor, shape: list[int]) -> Tensor:
    """Return an image (c, h, w) in another shape [h', w'], antialiased."""
    return functional.interpolate(pixels[None], shape, mode="bilinear", antialias=True)[0].clamp(0.0, 1.0)


def _draw(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
