"""Fitting a shape prior to models as voxels.

The loss is the sum of two: the binary cross-entropy of being solid at each node, so that what the network returns are
probabilities, and the squared error of colours where a model is solid. A model is drawn with one of its captions, in
its own colours or painted, mirrored or not (left and right are not told apart by names), and noise is added to the
sentence's embedding, so that sentences nearby mean much the same.
"""

from collections.abc import Generator
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.optimize.randomness import derive_seed, seeded_generator
from dreamfields.prior.network import PriorSizes, ShapePrior
from dreamfields.train.features import Advance
from dreamfields.train.fit import schedule
from dreamfields.train.prior_data import PriorData
from dreamfields.train.prior_settings import PriorSettings

_COLOUR_WEIGHT: Final = 3.0  # Of the error of colours
_NEAR: Final = 0.02  # A mean probability at the start is never nearer to 0 or 1


def fit_prior(data: PriorData, settings: PriorSettings) -> Generator[Advance, None, ShapePrior]:
    """Train a prior on all models but the held-out ones, yielding progress, and return it."""
    chosen = torch.nonzero(data.trained_on)[:, 0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(settings.seed, "prior"))
        prior = ShapePrior(PriorSizes(data.sentences.shape[1], data.occupancy.shape[-1]), settings.dropout)
    with torch.no_grad():
        mean = data.occupancy[chosen].float().mean(dim=0).clamp(_NEAR, 1.0 - _NEAR)
        prior.solid.bias.copy_(torch.logit(mean).reshape(-1))
    optimizer = torch.optim.AdamW(prior.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    for epoch in range(settings.epochs):
        loss = fit_epoch(prior, optimizer, data, settings, epoch)
        yield Advance("epochs:", settings.epochs, 1, note=f"loss {loss:.4f}")
    return prior.requires_grad_(False).eval()


def fit_epoch(
    prior: ShapePrior, optimizer: torch.optim.Optimizer, data: PriorData, settings: PriorSettings, epoch: int
) -> float:
    """Train for one pass over the models and return the mean loss; draws depend on seed and epoch alone."""
    draws, chosen = seeded_generator(settings.seed, "models", epoch), torch.nonzero(data.trained_on)[:, 0]
    batches, total = chosen[torch.randperm(len(chosen), generator=draws)].split(settings.batch), 0.0
    prior.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(settings.seed, "dropout of the prior", epoch))
        for index, models in enumerate(batches):
            fraction = (epoch + index / len(batches)) / settings.epochs
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * schedule(fraction)
            loss = prior_loss(prior, *drawn(data, models, settings.noise, draws))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) / len(batches)
    prior.eval()
    return total


def drawn(
    data: PriorData, models: Tensor, noise: float, draws: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return unit embeddings (b, e), occupancy (b, n, n, n) and colours (b, n, n, n, 3) of models (b,)."""
    looks, captions = data.captions.shape[1:]
    look = torch.randint(looks, (len(models),), generator=draws)
    caption = torch.randint(captions, (len(models),), generator=draws)
    embeddings = data.sentences[data.captions[models, look, caption]]
    shift = torch.randn(embeddings.shape, generator=draws) * (noise / embeddings.shape[1] ** 0.5)
    mirrored = torch.rand(len(models), generator=draws) < 0.5
    occupancy, colours = data.occupancy[models].float(), data.colours[models, look].float() / 255.0
    occupancy = torch.where(mirrored[:, None, None, None], occupancy.flip(3), occupancy)
    colours = torch.where(mirrored[:, None, None, None, None], colours.flip(3), colours)
    return functional.normalize(embeddings + shift, dim=-1), occupancy, colours


def prior_loss(prior: ShapePrior, embeddings: Tensor, occupancy: Tensor, colours: Tensor) -> Tensor:
    """Return the loss () of a batch; see the module's docstring."""
    solid, tint = prior(embeddings)
    shape = functional.binary_cross_entropy_with_logits(solid, occupancy)
    error = (torch.sigmoid(tint) - colours).square().mean(dim=-1)
    return shape + _COLOUR_WEIGHT * (occupancy * error).sum() / occupancy.sum().clamp(min=1.0)
