"""Measuring a library of shapes on models that it does not hold, beside the mean shape of their category.

The overlap of two shapes is intersection over union of their nodes.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dreamfields.train.looks import Shape
from dreamfields.train.shape_library import Solids
from dreamfields.train.shapes import held_out

_HELD_OUT: Final = 7  # Of names with several models, one model in this many is held out
_SEVERAL: Final = 3  # Models of a name
_THRESHOLDS: Final = (0.1, 0.2, 0.3, 0.4, 0.5)  # Of a mean, of which the best is taken


@dataclass(frozen=True)
class Overlaps:
    """Median overlaps of shapes with models, in [0, 1]."""

    known_names: float  # With held-out models of names that the library has
    unseen_names: float  # With models of names that it does not have


def measure_library(data: Solids) -> dict[str, Overlaps]:
    """Return the overlaps of a library without what is held out, and of its alternatives, by name."""
    by_name, by_model = torch.tensor([held_out(shape.name) for shape in data.shapes]), held_out_models(data.shapes)
    known = ~(by_name | by_model)
    asked, kept = (torch.nonzero(chosen)[:, 0] for chosen in (~known, known))
    library, embeddings = data.library(known), data.embeddings[kept]
    means = category_means(data, known)

    def of_category(index: int) -> Tensor:
        return means[data.shapes[index].category]

    def nearest(index: int) -> Tensor:
        return data.filled[kept[(embeddings @ data.embeddings[index]).argmax()]].float()

    def looked_up(index: int) -> Tensor:
        return library.solids[library.nearest(data.embeddings[index])[0]].float()

    methods: Mapping[str, Callable[[int], Tensor]] = {
        "mean of the category, which has to be known": of_category,
        "the nearest model": nearest,
        "the most usual of the nearest": looked_up,
    }
    found = {}
    for name, method in methods.items():
        overlaps = torch.tensor([best_overlap(method(index), data.filled[index]) for index in asked.tolist()])
        medians = [float(overlaps[chosen[asked]].median()) for chosen in (by_model, by_name)]
        found[name] = Overlaps(*medians)
    return found


def category_means(data: Solids, known: Tensor) -> dict[str, Tensor]:
    """Return by category the mean (n, n, n) of the models that are `known`, (m,) bool; 0 for a category without any."""
    means = {}
    for category in {shape.category for shape in data.shapes}:
        members = torch.tensor([shape.category == category for shape in data.shapes]) & known
        means[category] = data.filled[members].sum(dim=0) / members.sum().clamp(min=1)
    return means


def best_overlap(values: Tensor, model: Tensor) -> float:
    """Return the overlap of values in [0, 1] above the best of a few thresholds with a model, both (n, n, n)."""
    masks = (values > threshold for threshold in (_THRESHOLDS if values.frac().any() else _THRESHOLDS[-1:]))
    return max(float((mask & model).sum() / (mask | model).sum().clamp(min=1)) for mask in masks)


def held_out_models(shapes: Sequence[Shape]) -> Tensor:
    """Return which models are held out of names that have several, (m,) bool; by the names of their files."""
    counts: dict[str, int] = {}
    for shape in shapes:
        counts[shape.name] = counts.get(shape.name, 0) + 1
    digests = (hashlib.sha256(f"model {shape.file}".encode()).digest()[0] for shape in shapes)
    several = (counts[shape.name] >= _SEVERAL and not held_out(shape.name) for shape in shapes)
    return torch.tensor([many and digest % _HELD_OUT == 0 for many, digest in zip(several, digests, strict=True)])
