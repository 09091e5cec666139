"""`dreamfields prior`: the shape prior, trained or measured."""

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
from dreamfields.train.prior_settings import PriorSettings


@dataclass(frozen=True)
class Prior(Command):
    """Train the prior that runs start from, or measure it: prior train SHAPES --out FILE | prior evaluate SHAPES."""

    action: Annotated[Literal["train", "evaluate"], tyro.conf.Positional]
    """What to do."""
    shapes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SHAPES")]
    """Folder with models.jsonl and models.zip; see docs/adapters.md."""
    out: Path | None = None
    """Where `train` writes the prior."""
    prior: Path | None = None
    """What `evaluate` measures; the shipped one if not given."""
    cache: Path | None = None
    """Folder for sentence embeddings. If not given, dreamfields/lit among the user's caches."""
    settings: Annotated[PriorSettings, tyro.conf.arg(name="")] = field(default_factory=PriorSettings)
    """How `train` does it"""

    def check(self) -> None:
        """Make sure that a place for the result is named, and that it is free."""
        if self.action == "train" and self.out is None:
            raise UsageError("say where to write the prior, for example: --out prior.safetensors")
        if self.action == "train" and self.out and self.out.exists():
            raise UsageError(f"{self.out} is there already; move it away or choose another --out")

    def run(self, console: Console) -> int:
        """Train a prior and write it, or print how well one predicts."""
        from dreamfields.guidance.clip.hub import file_sha256
        from dreamfields.prior.load import packaged_prior
        from dreamfields.prior.network import prior_bytes, read_prior
        from dreamfields.storage import atomic_write
        from dreamfields.train.prior_data import gather
        from dreamfields.train.prior_fit import fit_prior
        from dreamfields.train.prior_measure import measure_prior
        from dreamfields.train.shapes import read_shapes

        shapes = read_shapes(self.shapes)
        data = show_stages(console, gather(shapes, self.cache or user_cache() / "lit"))
        if self.action == "evaluate":
            prior = read_prior(self.prior) if self.prior else packaged_prior()
            rows = [
                [name, *(f"{value:.3f}" for value in (one.unseen_models, one.unseen_names, one.told))]
                for name, one in measure_prior(prior, data).items()
            ]
            title = f"{int((~data.trained_on).sum())} held-out models of {shapes.name}: median overlap"
            headings = ["", "of known names", "of unseen names", "expected and true, rank correlation"]
            say_table(console, title, headings, rows)
            return 0
        assert self.out is not None  # `check` has made sure.
        prior = show_stages(console, fit_prior(data, self.settings))
        facts = {"set": shapes.name, "models": str(int(data.trained_on.sum())), "seed": str(self.settings.seed)}
        atomic_write(self.out, prior_bytes(prior, facts))
        say(console, f"wrote {self.out}, sha256 {file_sha256(self.out)}")
        return 0
