"""`dreamfields runs`: what there is in a folder of runs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Final

import tyro
from rich.console import Console

from dreamfields.cli.command import Command
from dreamfields.cli.run_folder import find_runs
from dreamfields.cli.terminal import say, say_table
from dreamfields.errors import DreamfieldsError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.record import read_record

_STEPS: Final = 20
_TAIL_BYTES: Final = 16_384
"""Longer than so many steps are in metrics.jsonl."""


@dataclass(frozen=True)
class Summary:
    """One run in short; what a damaged run does not tell is None."""

    run: str
    prompt: str | None = None
    seed: int | None = None
    status: str | None = None
    score: float | None = None
    """Mean score of the last steps, at most 20."""
    seconds: float | None = None
    """Time spent on steps."""
    error: str | None = None
    """What is wrong with a damaged run."""


@dataclass(frozen=True)
class Runs(Command):
    """List the runs in a folder: prompt, seed, status, score and time."""

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
            say_table(console, "", ("run", "prompt", "seed", "status", "score", "time"), map(_cells, found))
        else:
            say(console, f"there are no runs in {self.folder}")
        return 0


def summarize(path: Path) -> Summary:
    """Return what a run's record and metrics say of it."""
    directory = RunDirectory(path)
    try:
        record = read_record(directory)
        return Summary(
            path.name,
            record.config.prompt,
            record.config.seed,
            str(record.values["status"]),
            last_score(directory.metrics),
            _number(record.values.get("seconds")),
        )
    except DreamfieldsError as error:
        return Summary(path.name, status="damaged", error=str(error))


def last_score(metrics: Path) -> float | None:
    """Return the mean score of the last steps in metrics.jsonl; None without any."""
    try:
        if not metrics.is_file():
            return None
        with metrics.open("rb") as file:
            file.seek(-min(_TAIL_BYTES, metrics.stat().st_size), 2)
            lines = file.read().splitlines()
    except OSError:
        return None
    scores = [score for line in lines if (score := _score(line)) is not None]
    return fmean(scores[-_STEPS:]) if scores else None


def _score(line: bytes) -> float | None:
    """Return the score in a line; None if it is torn or holds none."""
    try:
        return _number(json.loads(line)["score"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e12 else None


def _cells(one: Summary) -> tuple[str, ...]:
    seconds = "" if one.seconds is None else f"{one.seconds:,.0f} s"
    score = "" if one.score is None else f"{one.score:.3f}"
    seed = "" if one.seed is None else str(one.seed)
    return one.run, one.prompt or one.error or "", seed, one.status or "", score, seconds
