"""Which things have a front: names of 3D models with the answer, and the regression fitted to them.

A name has a front where the azimuth of most of its models' fronts is known. Animals, characters and vehicles without a
known front are left out: they have one, or it could not be told. Of furniture, such as tables, those have none.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.lit.fronts import FrontProbe, sentence
from dreamfields.train.looks import Shape

WITH_FRONTS: Final = ("animal", "character", "vehicle")  # Categories of things that always have a front
_STRENGTH: Final = 1e-4  # Of the penalty on the squared weights; chosen on held-out names
_STEPS: Final = 300  # At most


def named_fronts(shapes: Sequence[Shape]) -> dict[str, tuple[str, bool]]:
    """Return by name the `sentence` of a thing and whether it has a front."""
    by_name: dict[str, list[Shape]] = {}
    for shape in shapes:
        by_name.setdefault(shape.name, []).append(shape)
    found = {}
    for name, models in by_name.items():
        front = 2 * sum(model.front_deg is not None for model in models) >= len(models)
        if front or models[0].category not in WITH_FRONTS:
            found[name] = (sentence(models[0].of(name)), front)
    return found


def fit_probe(embeddings: Tensor, fronts: Tensor) -> FrontProbe:
    """Return the regression from sentence embeddings (n, e) to whether their things have a front, (n,) bool."""
    weight = torch.zeros(embeddings.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS)

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = embeddings @ weight + bias
        total = functional.binary_cross_entropy_with_logits(logits, fronts.float()) + _STRENGTH * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return FrontProbe(weight.detach(), bias.detach())


def accuracy(probe: FrontProbe, embeddings: Tensor, fronts: Tensor) -> float:
    """Return the fraction of sentences (n, e) that a probe answers right."""
    return float((probe.has_front(embeddings) == fronts).float().mean())
