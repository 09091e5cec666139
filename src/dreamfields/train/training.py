"""Training from first to last: gather, fit, and write the file; after a stop, everything goes on where it was."""

from collections.abc import Iterator
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from dreamfields.storage import atomic_write
from dreamfields.train.fit import Epoch, Progress, TrainingData, fit, new_adapters, new_optimizer
from dreamfields.train.settings import TuningSettings


def train(
    progress: Progress, data: TrainingData, settings: TuningSettings, kept: Path
) -> Iterator[tuple[Epoch, Progress]]:
    """Fit adapters from where they stand, yielding after each epoch, once where they stand now is kept in a file.

    Raises:
        StorageError: the file cannot be written.
    """
    for epoch, stand in fit(progress, data, settings):
        atomic_write(kept, progress_bytes(stand))
        yield epoch, stand


def restored(data: TrainingData, settings: TuningSettings, kept: Path) -> Progress:
    """Return where training stands: as kept in a file, from which it goes on exactly, or at its very beginning."""
    adapters = new_adapters(data, settings)
    optimizer = new_optimizer(adapters, settings)
    start = Progress(adapters, optimizer, 0, -1.0, 0, dict(adapters.state_dict()))
    try:
        state = safetensors.torch.load(kept.read_bytes())
        epoch, best_epoch = (int(number) for number in state.pop("epochs"))
        best_found = float(state.pop("best_found"))
        adapters.load_state_dict(_part(state, "now."))
        _restore_moments(optimizer, _part(state, "moments."))
        return Progress(adapters, optimizer, epoch, best_found, best_epoch, _part(state, "best."))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError):
        # Not there or not whole: the same training from the start gives the same adapters.
        return start


def progress_bytes(progress: Progress) -> bytes:
    """Return a file that tells exactly where training stands."""
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
