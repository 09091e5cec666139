"""`dreamfields runs`: what there is in a folder of runs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from dreamfields.cli.command import Command
from dreamfields.cli.run_folder import find_runs
from dreamfields.cli.terminal import say, say_table
from dreamfields.errors import DreamfieldsError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.metrics import last_score
from dreamfields.runs.record import read_record


@dataclass(frozen=True)
class Runs(Command):
    """List the runs in a folder: prompt, seed, status, score (the mean of the last 20 steps) and time."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """The folder; runs if not given."""
    json: bool = False
    """Print one JSON object a line instead of a table."""

    def check(self) -> None:
        """Make sure that there is a folder."""
        if not self.folder.is_dir():
            raise UsageError(f"there is no folder {self.folder}; name one that holds runs")

    def run(self, console: Console) -> int:
        """Print the runs."""
        found = [summarize(path) for path in find_runs(self.folder)]
        if self.json:
            for one in found:
                say(console, json.dumps(asdict(one), ensure_ascii=False))
        elif found:
            headings = ("run", "prompt", "seed", "status", "score", "time")
            say_table(console, "", headings, [one.cells() for one in found])
        else:
            say(console, f"there are no runs in {self.folder}")
        return 0


@dataclass(frozen=True)
class Summary:
    """One run in short; what is not known of it is None, and `error` says what is wrong with a damaged run."""

    run: str
    status: str
    prompt: str | None = None
    seed: int | None = None
    score: float | None = None
    seconds: float = 0.0
    error: str | None = None

    def cells(self) -> list[str]:
        """Return the row of a table."""
        score = "" if self.score is None else f"{self.score:.3f}"
        seed = "" if self.seed is None else str(self.seed)
        return [self.run, self.prompt or self.error or "", seed, self.status, score, f"{self.seconds:,.0f} s"]


def summarize(path: Path) -> Summary:
    """Return what a run's record and metrics say of it."""
    directory = RunDirectory(path)
    try:
        record = read_record(directory)
    except DreamfieldsError as error:
        return Summary(path.name, "damaged", error=str(error))
    config, score = record.config, last_score(directory.metrics)
    return Summary(path.name, record.status, config.prompt, config.seed, score, record.seconds)
