"""`dreamfields evaluate`: whether a model that never guides recognises a run's object."""

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dreamfields.cli.command import RunCommand
from dreamfields.cli.run_folder import open_trained
from dreamfields.cli.terminal import say, say_table
from dreamfields.errors import StorageError
from dreamfields.storage import atomic_write


@dataclass(frozen=True)
class Evaluate(RunCommand):
    """Let a model that never guides judge views of a run that were never trained on."""

    classes: tuple[str, ...] = ()
    """ImageNet class names that count as right; the one nearest to the prompt if not given."""
    out: Path | None = None
    """Where the judgement is kept as JSON; RUN/evaluation.json if not given and if that can be written."""

    def run(self, console: Console) -> int:
        """Print the judgement of each view and write it to a file."""
        from dreamfields.evaluate.report import judgement_json

        judgement = open_trained(self.directory, console).evaluate(list(self.classes) or None)
        marks = {True: "yes", False: "no"}
        rows = [
            (f"{view.azimuth_deg:.0f}", view.answer, f"{view.probability:.2f}", marks[view.top1], marks[view.top5])
            for view in judgement.views
        ]
        title = f"{judgement.judge} looks for: {', '.join(judgement.classes)}"
        ranks = f"top 1 in {judgement.top1} of {len(rows)}, top 5 in {judgement.top5} of {len(rows)}"
        caption = f"{ranks}, mean probability {judgement.probability:.2f}"
        say_table(console, title, ("azimuth", "answer", "probability", "top 1", "top 5"), rows, caption)
        path, content = self.out or self.folder / "evaluation.json", json.dumps(judgement_json(judgement), indent=2)
        try:
            atomic_write(path, content.encode())
        except StorageError as refused:
            if self.out:
                raise
            say(console, f"note: the judgement is not kept: {refused}, with --out")  # The table is the answer.
        else:
            say(console, f"wrote {path}")
        return 0
