"""What a shape prior is trained on: voxels of named 3D models, in their own colours and painted, and their captions."""

import hashlib
import zipfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.optimize.randomness import derive_seed
from dreamfields.reprs import short_repr
from dreamfields.train.colours import NAMED, painted
from dreamfields.train.features import Advance, collect, sentence_embeddings
from dreamfields.train.looks import Shape, unpainted
from dreamfields.train.renders import Floats
from dreamfields.train.shapes import ShapeSet, held_out
from dreamfields.train.solids import Solid, coarse, solid, turned

PAINTED: Final = 2  # Colours that a model is painted in, besides its own
_HELD_OUT: Final = 7  # Of names with several models, one model in this many is held out
_SEVERAL: Final = 3  # Models of a name


@dataclass(frozen=True)
class PriorData:
    """Models as voxels, with sentences. m models, s distinct sentences, f = `FINE`, c = `COARSE` nodes a side."""

    names: tuple[str, ...]  # (m) of them
    categories: tuple[str, ...]  # (m) of them
    filled: Tensor  # (m, f, f, f) bool
    occupancy: Tensor  # (m, c, c, c) in [0, 1], half precision
    colours: Tensor  # (m, 1 + `PAINTED`, c, c, c, 3) uint8: own colours first
    sentences: Tensor  # (s, e) unit embeddings
    captions: Tensor  # (m, 1 + `PAINTED`, t): indices of the sentences of each, repeated to a common number
    unseen_names: Tensor  # (m,) bool: models of names that are never trained on
    unseen_models: Tensor  # (m,) bool: models of other names that are never trained on

    __repr__ = short_repr

    @property
    def trained_on(self) -> Tensor:
        """Return which models are trained on: (m,) bool."""
        return ~(self.unseen_names | self.unseen_models)


def gather(shapes: ShapeSet, cache: Path) -> Generator[Advance, None, PriorData]:
    """Read models and embed their captions, yielding progress.

    Raises DreamfieldsError: a model cannot be read, weights are missing, or the cache cannot be written.
    """
    rows = tuple(shapes.shapes.values())
    solids = list[Solid]()
    looks = list[Floats]()
    paints = [paints_of(shape) for shape in rows]
    with zipfile.ZipFile(shapes.models) as archive:
        for shape, words in zip(rows, paints, strict=True):
            model = turned(shapes.model(shape.file, archive), shape.front_deg or 0.0)
            solids.append(solid(model, np.random.default_rng(derive_seed(0, f"solid of {shape.file}"))))
            looks.append(np.stack([solids[-1].colours, *(repainted(solids[-1].colours, word) for word in words)]))
            yield Advance("models become voxels:", len(rows), 1)
    index: dict[str, int] = {}
    captions = [
        [[index.setdefault(text, len(index)) for text in texts] for texts in captions_of(shape, words)]
        for shape, words in zip(rows, paints, strict=True)
    ]
    embeddings = sentence_embeddings(list(index), SentenceEncoder(), cache)
    sentences = yield from collect(embeddings, "sentences read:", len(index))
    fine = np.stack([one.filled for one in solids])
    unseen_names = torch.tensor([held_out(shape.name) for shape in rows])
    return PriorData(
        tuple(shape.name for shape in rows),
        tuple(shape.category for shape in rows),
        torch.from_numpy(fine),
        torch.cat([torch.from_numpy(coarse(part)).half() for part in np.array_split(fine, 1 + len(fine) // 256)]),
        torch.from_numpy(np.stack([(255.0 * look).round().astype(np.uint8) for look in looks])),
        sentences,
        torch.tensor(_filled(captions)),
        unseen_names,
        ~unseen_names & torch.tensor(held_out_models(rows)),
    )


def paints_of(shape: Shape) -> list[str]:
    """Return the colours that a model is painted in, all the same "" where it is never painted."""
    if unpainted(shape):
        return [""] * PAINTED
    draws = np.random.default_rng(derive_seed(0, f"paints of {shape.file}"))
    others = [word for word in NAMED if word not in shape.colours]
    return [str(word) for word in draws.choice(others, PAINTED, replace=False)]


def repainted(colours: Floats, word: str) -> Floats:
    """Return colours (n, n, n, 3) painted in a named colour; as they are for ""."""
    flat = colours.reshape(-1, 3)
    return painted(flat, np.ones(len(flat), bool), word, np.zeros(3)).reshape(colours.shape) if word else colours


def captions_of(shape: Shape, paints: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the captions of a model in its own colours, and of it in each paint."""
    own = (*dict.fromkeys([*shape.captions, shape.of(shape.name)]),)
    return [own, *((shape.of(f"{word} {shape.name}"),) if word else own for word in paints)]


def held_out_models(shapes: Sequence[Shape]) -> list[bool]:
    """Return which models are held out of names that have several; by the names of their files."""
    counts: dict[str, int] = {}
    for shape in shapes:
        counts[shape.name] = counts.get(shape.name, 0) + 1
    digests = [hashlib.sha256(f"model {shape.file}".encode()).digest()[0] for shape in shapes]
    return [
        counts[shape.name] >= _SEVERAL and digest % _HELD_OUT == 0
        for shape, digest in zip(shapes, digests, strict=True)
    ]


def _filled(rows: list[list[list[int]]]) -> list[list[list[int]]]:
    """Return lists of equal length, the shorter ones filled up by repeating them."""
    longest = max(len(texts) for row in rows for texts in row)
    return [[(texts * longest)[:longest] for texts in row] for row in rows]
