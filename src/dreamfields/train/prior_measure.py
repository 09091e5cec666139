"""Measuring a shape prior on models that it never saw, beside plain alternatives.

The overlap of two shapes is intersection over union of their nodes on the fine lattice. Alternatives: the mean shape of
the category, which would have to be known; the model whose caption is nearest to the sentence; and the mean of the
nearest ones, weighted by how near they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.prior.network import ShapePrior, best_threshold
from dreamfields.train.prior_data import PriorData

NEAREST: Final = 20  # Models whose mean is taken
_SHARPNESS: Final = 20.0  # Logit of their weights per unit of cosine
_BATCH: Final = 64


@dataclass(frozen=True)
class Overlaps:
    """Overlaps of predicted shapes with models, in [0, 1]."""

    unseen_models: float  # Median over held-out models of names that were trained on
    unseen_names: float  # Median over models of held-out names
    told: float  # Rank correlation of expected and true overlap over all of these


@torch.no_grad()
def measure_prior(prior: ShapePrior, data: PriorData) -> dict[str, Overlaps]:
    """Return the overlaps of a prior and of its alternatives, by name."""
    asked = torch.nonzero(~data.trained_on)[:, 0]
    sentences = data.sentences[data.captions[asked, 0, 0]]

    def predicted(part: Tensor) -> Tensor:
        return torch.sigmoid(prior(sentences[part])[0])

    methods: Mapping[str, Callable[[Tensor], Tensor]] = {
        "mean of the category": lambda part: category_means(data, asked[part]),
        "nearest model": lambda part: nearest_means(data, sentences[part], 1),
        f"mean of the {NEAREST} nearest": lambda part: nearest_means(data, sentences[part], NEAREST),
        "prior": predicted,
    }
    found = {}
    for name, method in methods.items():
        parts = [overlaps(method(part), data.filled[asked[part]]) for part in torch.arange(len(asked)).split(_BATCH)]
        expected, true = torch.cat(parts).unbind(dim=1)
        by_name = data.unseen_names[asked]
        medians = (float(true[chosen].median()) for chosen in (~by_name, by_name))
        found[name] = Overlaps(*medians, rank_correlation(expected, true))
    return found


def overlaps(probability: Tensor, filled: Tensor) -> Tensor:
    """Return the expected and the true overlap (b, 2) of probabilities (b, c, c, c) with models (b, f, f, f)."""
    found = []
    for one, model in zip(probability, filled, strict=True):
        threshold, expected = best_threshold(one)
        size = list(model.shape)
        fine = functional.interpolate(one[None, None], size=size, mode="trilinear", align_corners=True)[0, 0]
        above = fine > threshold
        found.append(torch.stack([expected, (above & model).sum() / (above | model).sum().clamp(min=1)]))
    return torch.stack(found)


def category_means(data: PriorData, models: Tensor) -> Tensor:
    """Return the mean occupancy (b, c, c, c) of the categories of models (b,), over what is trained on."""
    means = {}
    for category in {data.categories[index] for index in models.tolist()}:
        members = torch.tensor([one == category for one in data.categories]) & data.trained_on
        means[category] = data.occupancy[members].float().mean(dim=0)
    return torch.stack([means[data.categories[index]] for index in models.tolist()])


def nearest_means(data: PriorData, sentences: Tensor, count: int) -> Tensor:
    """Return the weighted mean occupancy (b, c, c, c) of the models whose captions are nearest to sentences (b, e)."""
    known = torch.nonzero(data.trained_on)[:, 0]
    cosines = sentences @ data.sentences[data.captions[known, 0, 0]].T
    near, index = cosines.topk(min(count, len(known)), dim=1)
    weights = torch.softmax(_SHARPNESS * near, dim=1)
    return torch.einsum("bk,bkzyx->bzyx", weights, data.occupancy[known[index]].float())


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return Spearman's rank correlation of two samples (n,); ties have arbitrary order."""
    ranks = torch.stack([values.argsort().argsort().float() for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])
