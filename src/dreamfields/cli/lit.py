"""`dreamfields lit`: adapters for lit guidance, trained or measured."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from dreamfields.cli.command import Command
from dreamfields.cli.progress import show_stages
from dreamfields.cli.terminal import say, say_table
from dreamfields.errors import UsageError
from dreamfields.storage import user_cache
from dreamfields.train.settings import TuningSettings


@dataclass(frozen=True)
class Lit(Command):
    """Train adapters for lit guidance, or measure some: lit train DATA... --out FILE | lit evaluate DATA."""

    action: Annotated[Literal["train", "evaluate"], tyro.conf.Positional]
    """What to do."""
    data: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = ()
    """Folders with pairs.jsonl and images.zip or with models.jsonl and models.zip, or COCO captions as
    CAPTIONS.json:FOLDER; @N takes the first N pictures only. What is named twice is shown twice as often."""
    out: Path | None = None
    """Where `train` writes the adapters."""
    cache: Path | None = None
    """Folder for what the towers see, which takes most of the time; a stopped training goes on from it. If not given,
    dreamfields/lit among the user's caches: in $XDG_CACHE_HOME, or ~/.cache, or ~/Library/Caches on a Mac."""
    descriptions: Path | None = None
    """JSON with sentences about each ImageNet class, such as CuPL's; the class names alone if not given."""
    adapters: tuple[Path, ...] = ()
    """What `evaluate` measures; the shipped ones if not given."""
    count: int = 1000
    """Held-out pictures, or 3D models, that `evaluate` takes."""
    settings: Annotated[TuningSettings, tyro.conf.arg(name="")] = field(default_factory=TuningSettings)
    """How `train` does it"""

    def check(self) -> None:
        """Make sure that data and a place for the result are named, and that the place is free."""
        if not self.data:
            raise UsageError(f"say on what data, for example: dreamfields lit {self.action} FOLDER")
        if self.action == "train" and self.out is None:
            raise UsageError("say where to write the adapters, for example: --out adapters.safetensors")
        if self.action == "train" and self.out and self.out.exists():
            raise UsageError(f"{self.out} is there already; move it away or choose another --out")
        if self.action == "evaluate" and (len(self.data) > 1 or self.count < 1):
            raise UsageError("evaluate takes one folder, and a --count of at least 1")

    def run(self, console: Console) -> int:
        """Train adapters and write them, or print the recall of some."""
        from dreamfields.guidance.clip.hub import file_sha256
        from dreamfields.storage import atomic_write
        from dreamfields.train.measure import measure
        from dreamfields.train.training import train_adapters

        cache = self.cache or user_cache() / "lit"
        if self.action == "evaluate":
            found = show_stages(console, measure(self.data[0], self.adapters, self.count, cache))
            rows = [[name, *(f"{value:.3f}" for value in figures)] for name, figures in found.rows.items()]
            say_table(console, found.title, ["adapters", *found.headings], rows)
            return 0
        assert self.out is not None  # `check_values` has made sure.
        atomic_write(self.out, show_stages(console, train_adapters(self.data, self.descriptions, self.settings, cache)))
        say(console, f"wrote {self.out}, sha256 {file_sha256(self.out)}")
        return 0
