"""What commands share that work on a run: find, open or complete it, and print its notes."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from dreamfields.cli.progress import StepProgress
from dreamfields.cli.signals import StopRequest
from dreamfields.cli.terminal import say
from dreamfields.devices import cpu_threads, thread_count
from dreamfields.guidance.ensemble import label
from dreamfields.runs.directory import RECORD, RunDirectory

if TYPE_CHECKING:
    from dreamfields.runs.run import Run


def find_runs(folder: Path) -> list[Path]:
    """Return the runs in a folder: itself if it is one, and else those directly within it, by name."""
    return [folder] if (folder / RECORD).exists() else sorted(path.parent for path in folder.glob(f"*/{RECORD}"))


def say_notes(notes: list[str], console: Console) -> None:
    """Print notes of a run, one a line."""
    for note in notes:
        say(console, f"note: {note}")


def open_trained(directory: RunDirectory, console: Console) -> "Run":
    """Open a run, load its newest checkpoint, and print what was wrong with that, such as a damaged file."""
    import torch

    from dreamfields.runs.run import Run

    run = Run.open(directory)
    torch.set_num_threads(thread_count(run.config.threads))  # For all that the command computes
    known = len(run.notes)
    run.load_state()
    say_notes(run.notes[known:], console)
    return run


def complete(run: "Run", console: Console) -> int:
    """Run the steps that are left, write the files, and return the exit code: 0, or 128 + signal after a stop."""
    with cpu_threads(run.config.threads), StopRequest() as stop:
        try:
            # Until a step is under way, and once all are saved, there is nothing to wait for.
            stop.immediate = True
            _show_steps(run, stop, console)
            stop.immediate = True
            if stop.number is None:
                say(console, "writing pictures, video and mesh ...")
                for path in run.finish():
                    say(console, f"  {path}")
                say_notes(run.export_notes, console)
                return 0
        except KeyboardInterrupt:
            if stop.number is None:
                raise
        say(console, f"stopped and saved; go on with: {run.directory.resume_command}")
        return 128 + stop.number


def _show_steps(run: "Run", stop: StopRequest, console: Console) -> None:
    """Run the steps that are left, showing them, until they are done or a stop is asked for."""
    import torch

    recipe = run.config.recipe
    say(console, f'"{run.config.prompt}", seed {run.config.seed}, into {run.path}')
    heading = f"{label(recipe.guidance.name)} guidance on {run.load_state().device}, {torch.get_num_threads()} threads"
    shown = 0
    with StepProgress(console, recipe.optimize.steps, heading) as progress, closing(run.steps()) as steps:
        for step in steps:
            stop.immediate = False
            say_notes(run.notes[shown:], console)
            shown = len(run.notes)
            progress.show(step)
            if stop.number is not None:
                break
