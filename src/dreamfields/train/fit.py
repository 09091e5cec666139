"""Fitting adapters to features of images and embeddings of sentences; an interrupted training resumes exactly.

The loss is the sum of three. The first matches images and captions within a batch (CLIP, Radford et al., 2021; as a
loss of single pairs SigLIP, Zhai et al., 2023), which teaches what captions say: colours, materials, relations. The
second tells a caption from its hard negatives, which say another colour or side (see `negatives`). The third is
distillation (Hinton et al., 2015): over the 1,000 class names an image gets the probabilities of the tower's own
classifier, so that class knowledge is not lost to the few thousand captions.

Notation: n images with v views each, b pairs a batch, f features of an image (final features, then levels), e numbers
of a sentence embedding, c classes with m sentences each.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.lit.adapters import Adapters, Projection
from dreamfields.optimize.randomness import derive_seed, seeded_generator
from dreamfields.reprs import short_repr
from dreamfields.storage import atomic_write
from dreamfields.train.settings import TuningSettings

_WARM_UP = 0.1
_TEMPERATURE = 2.0  # Temperature of the classifier's distribution in the distillation


@dataclass(frozen=True)
class TrainingData:
    """Inputs of training."""

    views: Tensor  # (v, n, f): features of every image in every view
    sentences: Tensor  # (s, e): embeddings of the distinct captions and of their hard negatives
    caption_ids: Tensor  # (n, t): indices of each image's captions; an image with fewer than t repeats its own
    negatives: Tensor  # (s, k): indices of the hard negatives of each caption, -1 where it has fewer than k
    validation: Tensor  # (n,): whether an image belongs to the validation set
    classes: Tensor  # (c, m, e): embeddings of sentences about each class of the tower
    class_weight: Tensor  # (c, g), g < f: weights of the tower's classifier on the final features
    class_bias: Tensor  # (c,): its bias

    __repr__ = short_repr


@dataclass(frozen=True)
class Progress:
    """State of training after some epochs: all that is needed to resume exactly, and figures of the last epoch."""

    adapters: Adapters
    optimizer: torch.optim.Optimizer
    epoch: int = 0  # Epochs done
    best_score: float = -1.0  # The highest mean reciprocal rank of validation captions' images
    best_epoch: int = 0  # The epoch, from 1, that reached it
    best_state: dict[str, Tensor] = field(default_factory=dict)  # The adapters after it
    loss: float = math.nan  # Mean over the steps of the last epoch
    score: float = math.nan  # Mean reciprocal rank after it, in [0, 1]

    __repr__ = short_repr


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


def fit_epoch(
    adapters: Adapters, optimizer: torch.optim.Optimizer, data: TrainingData, settings: TuningSettings, epoch: int
) -> float:
    """Train for one pass over the images and return the mean loss; draws depend on seed and epoch alone."""
    draws, training = seeded_generator(settings.seed, "pairs", epoch), torch.nonzero(~data.validation)[:, 0]
    order = training[torch.randperm(len(training), generator=draws)]
    batches, total = order.split(settings.batch), 0.0
    adapters.train()
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
    caption = torch.randint(data.caption_ids.shape[1], (len(chosen),), generator=draws)
    features, sentence = data.views[view, chosen], data.caption_ids[chosen, caption]
    images = adapters.image(features)
    logits = adapters.scale * images @ adapters.text(data.sentences[sentence]).T
    matches = sentence[:, None] == sentence[None, :]
    if settings.losses.pairs == "contrastive":
        loss = contrastive_loss(logits, matches)
    else:
        loss = sigmoid_loss(logits + adapters.bias, matches)
    if settings.losses.negatives > 0.0:
        loss = loss + settings.losses.negatives * negatives_loss(
            adapters, images, data, contradicted(data, chosen, draws)
        )
    if settings.losses.classes == 0.0:
        return loss
    described = torch.randint(data.classes.shape[1], (len(data.classes),), generator=draws)
    about = data.classes[torch.arange(len(data.classes)), described]
    known = features[:, : data.class_weight.shape[1]] @ data.class_weight.T + data.class_bias
    return loss + settings.losses.classes * class_loss(adapters.scale * images @ adapters.text(about).T, known)


def contradicted(data: TrainingData, chosen: Tensor, draws: torch.Generator) -> Tensor:
    """Return a caption (b,) of each image (b,), drawn from those that have hard negatives if any has."""
    captions = data.caption_ids[chosen]
    chances = torch.rand(captions.shape, generator=draws) + (data.negatives[captions, 0] >= 0)
    return captions.gather(1, chances.argmax(dim=1, keepdim=True))[:, 0]


def negatives_loss(adapters: Adapters, images: Tensor, data: TrainingData, captions: Tensor) -> Tensor:
    """Return the mean cross-entropy () of telling captions (b,) of images (b, d) from their hard negatives.

    Images whose caption has none do not count.
    """
    told = data.negatives[captions, 0] >= 0
    if not told.any():
        return images.new_zeros(())
    images, captions = images[told], captions[told]
    sentences = torch.cat([captions[:, None], data.negatives[captions]], dim=1)
    there = sentences >= 0
    texts, place = sentences[there].unique(return_inverse=True)
    embedded = adapters.text(data.sentences[texts])[place]
    picture = torch.nonzero(there)[:, 0]
    logits = adapters.scale * (images[picture] * embedded).sum(dim=-1)
    choices = torch.full(sentences.shape, -torch.inf).masked_scatter(there, logits)
    return functional.cross_entropy(choices, torch.zeros(len(choices), dtype=torch.long))


def contrastive_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss () of logits (b, b), images by captions; `matches` (b, b) marks positive pairs.

    Where a caption occurs several times in a batch, its images share the target probability equally.
    """
    targets = matches / matches.sum(dim=1, keepdim=True)
    return torch.stack([functional.cross_entropy(scores, targets) for scores in (logits, logits.T)]).mean()


def sigmoid_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Return the mean over images of the binary losses of all pairs, (): logits (b, b), `matches` (b, b)."""
    return -functional.logsigmoid(torch.where(matches, logits, -logits)).sum() / len(logits)


def class_loss(logits: Tensor, classifier_logits: Tensor) -> Tensor:
    """Return the distillation loss () of logits (b, c) of images by classes, given the classifier's logits (b, c)."""
    targets = functional.softmax(classifier_logits / _TEMPERATURE, dim=-1)
    return functional.cross_entropy(functional.log_softmax(logits, dim=-1), targets)


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


def fit(progress: Progress, data: TrainingData, settings: TuningSettings, saved: Path) -> Iterator[Progress]:
    """Train until validation stops improving; write and yield the state after each epoch. Raises StorageError."""
    adapters = progress.adapters
    while progress.epoch < settings.epochs and progress.epoch - progress.best_epoch < settings.patience:
        loss = fit_epoch(adapters, progress.optimizer, data, settings, progress.epoch)
        score = mean_reciprocal_rank(adapters, data)
        progress = replace(progress, epoch=progress.epoch + 1, loss=loss, score=score)
        if score > progress.best_score:
            best = {name: value.detach().clone() for name, value in adapters.state_dict().items()}
            progress = replace(progress, best_score=score, best_epoch=progress.epoch, best_state=best)
        atomic_write(saved, _progress_bytes(progress))
        yield progress


def restored(data: TrainingData, settings: TuningSettings, saved: Path) -> Progress:
    """Return the saved state of a training, from which it resumes exactly, or its state before the first epoch."""
    adapters, single = new_adapters(data, settings), ("log_scale", "bias")
    # The scale and the bias of the logits do not decay.
    matrices = [parameter for name, parameter in adapters.named_parameters() if name not in single]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": [adapters.log_scale, adapters.bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    start = Progress(adapters, optimizer, best_state=dict(adapters.state_dict()))
    try:
        state = safetensors.torch.load(saved.read_bytes())
        epoch, best_epoch = (int(number) for number in state.pop("epochs"))
        best_score = float(state.pop("best_found"))
        adapters.load_state_dict(_part(state, "now."))
        moments, whole = _part(state, "moments."), optimizer.state_dict()
        indices = sorted({int(name.split(".")[0]) for name in moments})
        whole["state"] = {index: _part(moments, f"{index}.") for index in indices}
        optimizer.load_state_dict(whole)
        return Progress(adapters, optimizer, epoch, best_score, best_epoch, _part(state, "best."))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError):
        # Missing or damaged: the same training from the start gives the same adapters.
        return start


def _progress_bytes(progress: Progress) -> bytes:
    """Return the state of a training as safetensors."""
    moments = progress.optimizer.state_dict()["state"]
    state = {
        **{f"now.{name}": value for name, value in progress.adapters.state_dict().items()},
        **{f"best.{name}": value for name, value in progress.best_state.items()},
        **{f"moments.{index}.{name}": value for index in moments for name, value in moments[index].items()},
        "epochs": torch.tensor([progress.epoch, progress.best_epoch]),
        "best_found": torch.tensor(progress.best_score, dtype=torch.float64),
    }
    return safetensors.torch.save({name: value.detach().clone().contiguous() for name, value in state.items()})


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
