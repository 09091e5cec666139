"""Training adapters from data to file; an interrupted training resumes exactly where it was."""

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from dreamfields.guidance.lit.adapters import adapters_bytes
from dreamfields.storage import atomic_write
from dreamfields.train.data import choose, digest, gather, read_descriptions
from dreamfields.train.features import Advance
from dreamfields.train.fit import Epoch, Progress, TrainingData, fit, new_adapters, new_optimizer
from dreamfields.train.settings import TuningSettings


def train_adapters(
    places: Sequence[str], descriptions: Path | None, settings: TuningSettings, cache: Path
) -> Generator[Advance, None, bytes]:
    """Train adapters, yielding progress, and return the content of their file.

    Args:
        places: sets of images and sentences; see `data.choose`.
        descriptions: JSON with sentences by class name, or None.
        settings: how to train.
        cache: folder for features and for the state of an interrupted training.

    Raises DreamfieldsError: data cannot be used, weights are missing, or the cache cannot be written.
    """
    chosen, sentences = choose(places), read_descriptions(descriptions)
    data = yield from gather(chosen, sentences, settings, cache)
    saved = cache / f"training-{digest(chosen, sentences, settings)}.safetensors"
    stage = f"{data.views.shape[1]} images, {len(data.sentences)} sentences; epochs:"
    progress = restored(data, settings, saved)
    yield Advance(stage, settings.epochs, progress.epoch, cached=True)
    for epoch, now in train(progress, data, settings, saved):
        progress = now
        best = " (best)" if epoch.best else ""
        note = f"loss {epoch.loss:.3f}, found {epoch.mean_reciprocal_rank:.3f}{best}"
        yield Advance(stage, settings.epochs, 1, note=note)
    adapters = progress.adapters
    adapters.load_state_dict(progress.best_state)
    facts = {
        "sets": ", ".join(f"{part.origin.name} {len(part.pairs)}" for part in chosen),
        "seed": str(settings.seed),
        "epoch": str(progress.best_epoch),
        "validation_found": f"{progress.best_found:.4f}",
    }
    return adapters_bytes(adapters, facts)


def train(
    progress: Progress, data: TrainingData, settings: TuningSettings, saved: Path
) -> Iterator[tuple[Epoch, Progress]]:
    """Fit adapters from where they stand, saving the state after each epoch before yielding it.

    Raises StorageError: the file cannot be written.
    """
    for epoch, now in fit(progress, data, settings):
        atomic_write(saved, progress_bytes(now))
        yield epoch, now


def restored(data: TrainingData, settings: TuningSettings, saved: Path) -> Progress:
    """Return the saved state of a training, from which it resumes exactly, or its state before the first epoch."""
    adapters = new_adapters(data, settings)
    optimizer = new_optimizer(adapters, settings)
    start = Progress(adapters, optimizer, 0, -1.0, 0, dict(adapters.state_dict()))
    try:
        state = safetensors.torch.load(saved.read_bytes())
        epoch, best_epoch = (int(number) for number in state.pop("epochs"))
        best_found = float(state.pop("best_found"))
        adapters.load_state_dict(_part(state, "now."))
        _restore_moments(optimizer, _part(state, "moments."))
        return Progress(adapters, optimizer, epoch, best_found, best_epoch, _part(state, "best."))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError):
        # Missing or damaged: the same training from the start gives the same adapters.
        return start


def progress_bytes(progress: Progress) -> bytes:
    """Return the state of a training as safetensors."""
    moments = {
        f"moments.{index}.{name}": value
        for index, state in progress.optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    state = {
        **{f"now.{name}": value for name, value in progress.adapters.state_dict().items()},
        **{f"best.{name}": value for name, value in progress.best_state.items()},
        **moments,
        "epochs": torch.tensor([progress.epoch, progress.best_epoch]),
        "best_found": torch.tensor(progress.best_found, dtype=torch.float64),
    }
    return safetensors.torch.save({name: value.detach().clone().contiguous() for name, value in state.items()})


def _restore_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    whole = optimizer.state_dict()
    indices = sorted({int(name.split(".")[0]) for name in moments})
    whole["state"] = {index: _part(moments, f"{index}.") for index in indices}
    optimizer.load_state_dict(whole)


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
