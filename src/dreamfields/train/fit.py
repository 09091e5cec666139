"""Fitting adapters to features of images and embeddings of sentences.

Two losses add up. Images and their captions must find each other in a batch (CLIP, Radford et al., 2021; as a loss of
single pairs SigLIP, Zhai et al., 2023), which teaches what captions say: colours, materials, relations. And an image
among the 1,000 class names must be rated as the tower's own classifier rates it (distillation, Hinton et al., 2015), so
that class knowledge is not lost to the few thousand captions.

Notation: n images with v views each, b pairs a batch, f features of an image (final features, then levels), e numbers
of a sentence embedding, c classes with m sentences each.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.lit.adapters import Adapters, Projection
from dreamfields.optimize.randomness import derive_seed, seeded_generator
from dreamfields.train.settings import TuningSettings

_WARM_UP = 0.1
_TEMPERATURE = 2.0  # Temperature of the classifier's distribution in the distillation


@dataclass(frozen=True)
class TrainingData:
    """Inputs of training."""

    views: Tensor  # (v, n, f): features of every image in every view
    sentences: Tensor  # (s, e): embeddings of the s distinct captions
    caption_ids: Tensor  # (n, t): indices of each image's captions; an image with fewer than t repeats its own
    validation: Tensor  # (n,): whether an image belongs to the validation set
    classes: Tensor  # (c, m, e): embeddings of sentences about each class of the tower
    class_weight: Tensor  # (c, g), g < f: weights of the tower's classifier on the final features
    class_bias: Tensor  # (c,): its bias


@dataclass(frozen=True)
class Epoch:
    """Result of one pass over the images."""

    index: int  # From 1
    loss: float  # Mean over the steps
    mean_reciprocal_rank: float  # Of a validation caption's image among all validation images, in [0, 1]
    best: bool  # Whether that is the best so far


@dataclass(frozen=True)
class Progress:
    """State of training: all that is needed to resume exactly."""

    adapters: Adapters
    optimizer: torch.optim.Optimizer
    epoch: int
    best_found: float
    best_epoch: int
    best_state: dict[str, Tensor]


def new_adapters(data: TrainingData, settings: TuningSettings) -> Adapters:
    """Return untrained adapters whose inputs are standardised by the training data."""
    features, sentences, network = data.views.shape[-1], data.sentences.shape[-1], settings.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(settings.seed, "adapters"))
        image = Projection(features, network.hidden, network.space, network.dropout)
        text = Projection(sentences, network.hidden, network.space, (0.5 * network.dropout[0], network.dropout[1]))
    image.standardise(data.views[:, ~data.validation].reshape(-1, features))
    text.standardise(data.sentences)
    return Adapters(settings.tower, image, text)


def new_optimizer(adapters: Adapters, settings: TuningSettings) -> torch.optim.Optimizer:
    """Return AdamW over all weights; the scale and the bias of the logits do not decay."""
    single = [adapters.log_scale, adapters.bias]
    matrices = [p for name, p in adapters.named_parameters() if name not in ("log_scale", "bias")]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": single, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def fit_epoch(
    adapters: Adapters, optimizer: torch.optim.Optimizer, data: TrainingData, settings: TuningSettings, epoch: int
) -> float:
    """Train for one pass over the images and return the mean loss; draws depend on seed and epoch alone."""
    draws = seeded_generator(settings.seed, "pairs", epoch)
    training = torch.nonzero(~data.validation)[:, 0]
    order = training[torch.randperm(len(training), generator=draws)]
    batches = order.split(settings.batch)
    adapters.train()
    total = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(settings.seed, "dropout", epoch))
        for index, chosen in enumerate(batches):
            fraction = (epoch + index / len(batches)) / settings.epochs
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * schedule(fraction)
            loss = batch_loss(adapters, data, chosen, settings, draws)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) / len(batches)
    adapters.eval()
    return total


def schedule(fraction: float) -> float:
    """Return the learning rate over its peak at a fraction of all steps: linear warm-up, then a cosine to 0."""
    if fraction < _WARM_UP:
        return fraction / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (fraction - _WARM_UP) / (1.0 - _WARM_UP))


def batch_loss(
    adapters: Adapters, data: TrainingData, chosen: Tensor, settings: TuningSettings, draws: torch.Generator
) -> Tensor:
    """Return the loss () of b images, each in a random view with one of its captions at random."""
    view = torch.randint(len(data.views), (len(chosen),), generator=draws)
    chosen_caption = torch.randint(data.caption_ids.shape[1], (len(chosen),), generator=draws)
    features, sentence = data.views[view, chosen], data.caption_ids[chosen, chosen_caption]
    images = adapters.image(features)
    logits = adapters.scale * images @ adapters.text(data.sentences[sentence]).T
    matches = sentence[:, None] == sentence[None, :]
    pairs = (
        contrastive_loss(logits, matches)
        if settings.loss == "contrastive"
        else sigmoid_loss(logits + adapters.bias, matches)
    )
    if settings.classes == 0.0:
        return pairs
    kind = torch.randint(data.classes.shape[1], (len(data.classes),), generator=draws)
    about = data.classes[torch.arange(len(data.classes)), kind]
    known = features[:, : data.class_weight.shape[1]] @ data.class_weight.T + data.class_bias
    return pairs + settings.classes * class_loss(adapters.scale * images @ adapters.text(about).T, known)


def contrastive_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss () of logits (b, b), images by captions; `matches` (b, b) marks positive pairs.

    Where a caption occurs several times in a batch, its images share the target probability equally.
    """
    wanted = matches / matches.sum(dim=1, keepdim=True)
    ways = [functional.cross_entropy(way, wanted) for way in (logits, logits.T)]
    return torch.stack(ways).mean()


def sigmoid_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Return the mean over images of the binary losses of all pairs, (): logits (b, b), `matches` (b, b)."""
    return -functional.logsigmoid(torch.where(matches, logits, -logits)).sum() / len(logits)


def class_loss(logits: Tensor, classifier_logits: Tensor) -> Tensor:
    """Return the distillation loss () of logits (b, c) of images by classes, given the classifier's logits (b, c)."""
    return functional.cross_entropy(
        functional.log_softmax(logits, dim=-1), functional.softmax(classifier_logits / _TEMPERATURE, dim=-1)
    )


@torch.no_grad()
def mean_reciprocal_rank(adapters: Adapters, data: TrainingData) -> float:
    """Return the mean reciprocal rank of the images of validation captions, each image in its first view."""
    pictures = torch.nonzero(data.validation)[:, 0]
    caption_ids = data.caption_ids[pictures]
    images = adapters.image(data.views[0, pictures])
    ranks = []
    for column in caption_ids.T:
        scores = adapters.text(data.sentences[column]) @ images.T
        # The best of all images with this caption counts.
        right = (caption_ids[None, :, :] == column[:, None, None]).any(dim=-1)
        best = scores.masked_fill(~right, -2.0).amax(dim=-1, keepdim=True)
        ranks.append(1.0 / (1.0 + (scores > best).sum(dim=-1)))
    return float(torch.stack(ranks).mean())


def fit(progress: Progress, data: TrainingData, settings: TuningSettings) -> Iterator[tuple[Epoch, Progress]]:
    """Train from a state until validation stops improving, yielding after each epoch."""
    adapters, optimizer = progress.adapters, progress.optimizer
    best_found, best_epoch, best_state = progress.best_found, progress.best_epoch, progress.best_state
    for epoch in range(progress.epoch, settings.epochs):
        if epoch - best_epoch >= settings.patience:
            return
        loss = fit_epoch(adapters, optimizer, data, settings, epoch)
        score = mean_reciprocal_rank(adapters, data)
        better = score > best_found
        if better:
            best_found, best_epoch = score, epoch + 1
            best_state = {name: value.detach().clone() for name, value in adapters.state_dict().items()}
        stand = Progress(adapters, optimizer, epoch + 1, best_found, best_epoch, best_state)
        yield Epoch(epoch + 1, loss, score, better), stand
