"""Building the library of shapes that runs start from, out of a set of named 3D models.

Models under CC0 go in and, of names that none of these has, models under CC BY, each with the credit that it asks for;
a few of each name, the most usual ones. Of animals, characters and vehicles the front must be known, for a run asks
each view for the side that it shows. `data/library.json` has fronts of models that the set has none for, found by
looking, and models to be left out: animals that are cubes with a face. All chance comes from the names of files, so the
same set gives the same library.
"""

import json
import zipfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.optimize.randomness import derive_seed
from dreamfields.prior.library import ShapeLibrary, mean_overlaps
from dreamfields.reprs import short_repr
from dreamfields.train.features import Advance
from dreamfields.train.fronts import WITH_FRONTS
from dreamfields.train.looks import Shape
from dreamfields.train.shapes import ShapeSet, by_model
from dreamfields.train.solids import solid, turned

PER_NAME: Final = 3  # Most models of a name
FREE: Final = "CC0-1.0"
CREDITED: Final = ("CC-BY-3.0", "CC-BY-3.0-US", "CC-BY-4.0")  # Licences that ask for a credit and nothing else
_SENTENCES: Final = 256  # At a time


@dataclass(frozen=True)
class Solids:
    """All models of a set as voxels. m models, e numbers of an embedding; lattices are indexed [z, y, x]."""

    shapes: tuple[Shape, ...]  # (m)
    embeddings: Tensor  # (m, e) unit vectors, of the names with their articles
    filled: Tensor  # (m, n, n, n) bool
    colours: Tensor  # (m, k, k, k, 3) uint8

    __repr__ = short_repr

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the models."""
        return tuple(shape.name for shape in self.shapes)

    def library(self, allowed: Tensor) -> ShapeLibrary:
        """Return a library of the most usual models of each name among those that are `allowed`, (m,) bool."""
        chosen = usual_models(self, allowed)
        names, credits = zip(*((self.shapes[index].name, credit(self.shapes[index])) for index in chosen), strict=True)
        return ShapeLibrary(names, credits, self.embeddings[chosen], self.filled[chosen], self.colours[chosen])


def gather(shapes: ShapeSet) -> Generator[Advance, None, Solids]:
    """Turn the models of a set into voxels and embed their names, yielding progress.

    Raises DreamfieldsError: a model cannot be read, or weights are missing.
    """
    rows, filled, colours = tuple(shapes.shapes.values()), [], []
    with zipfile.ZipFile(shapes.models) as archive:
        for shape in rows:
            model = turned(shapes.model(shape.file, archive), known_front(shape) or 0.0)
            found = solid(model, np.random.default_rng(derive_seed(0, f"solid of {shape.file}")))
            filled.append(found.filled)
            colours.append((255.0 * found.colours).round().astype(np.uint8))
            yield Advance("models become voxels:", len(rows), 1)
    names = [shape.of(shape.name) for shape in rows]
    distinct, encoder, embedded = list(dict.fromkeys(names)), SentenceEncoder(), []
    for begin in range(0, len(distinct), _SENTENCES):
        embedded.append(encoder.encode(distinct[begin : begin + _SENTENCES]))
        yield Advance("names read:", len(distinct), len(embedded[-1]))
    by_name = dict(zip(distinct, torch.cat(embedded), strict=True))
    embeddings = torch.stack([by_name[name] for name in names])
    return Solids(rows, embeddings, torch.from_numpy(np.stack(filled)), torch.from_numpy(np.stack(colours)))


def allowed_models(shapes: Sequence[Shape]) -> Tensor:
    """Return which models may be in the library, (m,) bool. Raises UsageError: there is none."""
    free = [shape.licence == FREE and is_usable(shape) for shape in shapes]
    names = {shape.name for shape, is_free in zip(shapes, free, strict=True) if is_free}
    asked = [shape.licence in CREDITED and shape.name not in names and is_usable(shape) for shape in shapes]
    allowed = torch.tensor(free) | torch.tensor(asked)
    if not allowed.any():
        licences = f"{FREE}, {', '.join(CREDITED[:-1])} or {CREDITED[-1]}"
        raise UsageError(f"no model of the set can be started from: one under {licences} is needed, of a known front")
    return allowed


def credit(shape: Shape) -> str:
    """Return the words that name a model's maker and licence; "" where none are asked for."""
    if shape.licence not in CREDITED:
        return ""
    parts = (f"{shape.name!r} by {shape.author}", shape.licence.replace("-", " "), shape.found_at)
    return ", ".join(part for part in parts if part)


def is_usable(shape: Shape) -> bool:
    """Return whether a model can be started from: it is no other one repainted, not left out, and its front is known.

    A front is needed of what has one always; of furniture and all else none is known where there is none.
    """
    if shape.repainted or Path(shape.file).stem in _by_looking()[1]:
        return False
    return shape.category not in WITH_FRONTS or known_front(shape) is not None


def known_front(shape: Shape) -> float | None:
    """Return the azimuth from which a model's front is seen; None where it is not known."""
    if shape.front_deg is not None:
        return shape.front_deg
    return _by_looking()[0].get(Path(shape.file).stem)


@cache
def _by_looking() -> tuple[Mapping[str, float], frozenset[str]]:
    """Return fronts found by looking at models, and models to be left out, by the names of their files."""
    text = resources.files("dreamfields.train").joinpath("data/library.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return by_model(found["fronts"]), frozenset(found["left_out"])


def usual_models(data: Solids, allowed: Tensor) -> list[int]:
    """Return the indices of at most `PER_NAME` models of each name: those that overlap most with all of that name."""
    by_name: dict[str, list[int]] = {}
    for index in torch.nonzero(allowed)[:, 0].tolist():
        by_name.setdefault(data.shapes[index].name, []).append(index)
    chosen = list[int]()
    for members in by_name.values():
        order = mean_overlaps(data.filled[members]).argsort(descending=True, stable=True)
        chosen += [members[place] for place in order[:PER_NAME].tolist()]
    return sorted(chosen)
