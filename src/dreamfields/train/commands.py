"""What `dreamfields lit` does: train adapters, or measure how well they find pictures by their captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dreamfields.guidance.lit.adapters import Adapters, adapters_bytes, packaged_adapters, read_adapters
from dreamfields.guidance.lit.weights import GUIDING_ADAPTERS, JUDGE_ADAPTERS, JUDGE_TOWER
from dreamfields.storage import atomic_write
from dreamfields.train import recall as retrieval
from dreamfields.train.countdown import ProgressBar
from dreamfields.train.data import choose, digest, gather, read_descriptions
from dreamfields.train.pairs import read_pairs
from dreamfields.train.recall import Recall
from dreamfields.train.settings import TuningSettings
from dreamfields.train.training import restored, train


@dataclass(frozen=True)
class Places:
    """Where data is read from and where what is found is kept."""

    data: tuple[str, ...]
    """Folders, or COCO captions as CAPTIONS.json:FOLDER; for training, each may end in @N for its first N pictures."""
    cache: Path
    """Folder for features; what is in it may be deleted at any time."""
    descriptions: Path | None = None
    """JSON with sentences by class name."""


def fit_and_write(places: Places, settings: TuningSettings, out: Path, console: Console) -> Adapters:
    """Train adapters and write their file.

    Raises:
        DreamfieldsError: data cannot be used, weights are missing, or nothing can be written.
    """
    chosen, descriptions = choose(places.data), read_descriptions(places.descriptions)
    data = gather(chosen, descriptions, settings, places.cache, console)
    count = data.views.shape[1]
    kept = places.cache / f"training-{digest(chosen, descriptions, settings)}.safetensors"
    heading = f"{count} pictures, {len(data.sentences)} sentences; epochs:"
    progress = restored(data, settings, kept)
    with ProgressBar(console, heading, settings.epochs) as countdown:
        countdown.advance(progress.epoch, kept=True)
        for epoch, stand in train(progress, data, settings, kept):
            progress = stand
            best = " (best)" if epoch.best else ""
            countdown.advance(1, note=f"loss {epoch.loss:.3f}, found {epoch.mean_reciprocal_rank:.3f}{best}")
    adapters = progress.adapters
    adapters.load_state_dict(progress.best_state)
    facts = {
        "sets": ", ".join(f"{part.origin.name} {len(part.pairs)}" for part in chosen),
        "seed": str(settings.seed),
        "epoch": str(progress.best_epoch),
        "validation_found": f"{progress.best_found:.4f}",
    }
    atomic_write(out, adapters_bytes(adapters, facts))
    return adapters


def measure(places: Places, files: Sequence[Path], count: int, console: Console) -> None:
    """Print how well adapters find held-out pictures of one set: each by itself, and those that guide together.

    Raises:
        DreamfieldsError: data cannot be used, or weights are missing.
    """
    pictures = read_pairs(places.data[0])
    pairs = retrieval.heldout(pictures, count)
    trained = (
        [read_adapters(path) for path in files]
        if files
        else [packaged_adapters(source) for source in (*GUIDING_ADAPTERS, JUDGE_ADAPTERS)]
    )
    found: dict[str, Tensor] = {}
    for each in trained:
        found[each.tower] = retrieval.logits(each, pictures, pairs, places.cache, console)
    guiding = [name for name in found if name != JUDGE_TOWER.name]
    if len(guiding) > 1:
        found["+".join(guiding)] = torch.stack([found[name] for name in guiding]).mean(dim=0)
    title = f"{len(pairs)} held-out pictures of {pictures.name}, {len(pairs[0].texts)} sentences each"
    console.print(recall_table(title, {name: retrieval.recall(scores) for name, scores in found.items()}))


def recall_table(title: str, found: dict[str, Recall]) -> Table:
    """Return recalls as a table, one row an ensemble."""
    table = Table(title=title)
    table.add_column("adapters", no_wrap=True)
    for heading in (f"{way} R@{k}" for way in ("text to image", "image to text") for k in (1, 5, 10)):
        table.add_column(heading)
    for name, fractions in found.items():
        table.add_row(name, *(f"{fraction:.3f}" for fraction in (*fractions.pictures, *fractions.sentences)))
    return table
