"""`dreamfields evaluate retrieval`: how often a judge finds a run's own prompt among many captions."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from dreamfields import paper
from dreamfields.cli.command import Command
from dreamfields.cli.run_folder import find_runs
from dreamfields.cli.terminal import say, say_table
from dreamfields.devices import resolve_device
from dreamfields.errors import UsageError
from dreamfields.evaluate.judges import check_judge, check_judge_weights, load_judge
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.record import read_record
from dreamfields.storage import atomic_write


@dataclass(frozen=True)
class Retrieval(Command):
    """Let a judge find the caption of each of several runs among 153, as Dream Fields was evaluated (R-Precision)."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS")] = ()
    """Folders of runs, or folders that hold such."""
    judge: str = "lit"
    """The judge: `lit` (a tower that never guides), or `clip:FOLDER-OR-ID`; never a model that guided a run."""
    out: Path = Path("retrieval")
    """Folder for retrieval.json and retrieval.html."""
    samples: int = paper.TEST_SAMPLES
    """Samples a ray; the paper's 512."""

    @cached_property
    def directories(self) -> list[RunDirectory]:
        """The runs; a folder without any is kept, so that reading it says that it holds none."""
        return [RunDirectory(run) for folder in self.folders for run in find_runs(folder) or [folder]]

    def check(self) -> None:
        """Make sure that there are runs, and the judge's weights."""
        if not self.folders:
            raise UsageError("name the runs to judge: dreamfields evaluate retrieval RUNS...")
        for directory in self.directories:
            read_record(directory)
        check_judge_weights(self.judge)

    def run(self, console: Console) -> int:
        """Judge the runs, print the fractions, and write them with the pictures."""
        from dreamfields.evaluate.report import WITHIN, retrieval_json, retrieval_page, words
        from dreamfields.evaluate.retrieval import judge_objects
        from dreamfields.runs.run import Run

        judge = load_judge(self.judge, resolve_device("auto"))
        runs = [Run.open(directory) for directory in self.directories]
        for run in runs:
            check_judge(judge, run.record.guidance, run.record.weights, str(run.path))
        found = judge_objects(judge, [run.candidate() for run in runs], self.samples)
        page, figures = self.out / "retrieval.html", self.out / "retrieval.json"
        atomic_write(figures, json.dumps(retrieval_json(found), indent=2).encode())
        atomic_write(page, retrieval_page(found).encode())
        rows = [
            ("colour", *(words(found.fraction(within, False)) for within in WITHIN)),
            ("textureless", *(words(found.fraction(within, True)) for within in WITHIN)),
            ("chance", *(f"{found.chance(within):.1%}" for within in WITHIN)),
        ]
        caption = f"{len(found.objects)} objects, {found.captions} captions; fractions with their standard errors"
        say_table(console, f"retrieval by {found.judge}", ("", *(f"R@{within}" for within in WITHIN)), rows, caption)
        for path in (figures, page):
            say(console, f"wrote {path}")
        return 0
