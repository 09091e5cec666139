"""Progress: what a command shows while it works, live on a terminal and as a few plain lines elsewhere."""

import time
from collections.abc import Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, TypeVar, cast, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dreamfields.cli.terminal import say

if TYPE_CHECKING:
    from dreamfields.optimize.loop import Step
    from dreamfields.train.features import Advance

_STEP_LINES: Final = 10  # Lines that a run prints where there is no terminal
_LINE_SECONDS: Final = 10.0  # Seconds between two lines of other work
_Result = TypeVar("_Result")


class ProgressBar(Progress):
    """Shows how many pieces of some work are done and how long the rest will take."""

    def __init__(self, console: Console, what: str, total: int, unknown: str = "") -> None:
        """Prepare for `total` pieces of work; `unknown` is said of the time left while there is no pace."""
        name, note = (TextColumn(f"{{task.{one}}}", markup=False) for one in ("description", "fields[note]"))
        columns = (name, BarColumn(), MofNCompleteColumn(), note, TimeRemainingColumn())
        super().__init__(*columns, console=console, disable=not console.is_terminal)
        self.what, self.total, self.unknown = what, total, unknown
        self.task = self.add_task(what, total=total, note="")
        self.restart(0)

    def restart(self, done: int) -> None:
        """Measure the pace from here on, with `done` pieces done before."""
        self.done = self.untimed = done
        self.began = time.perf_counter()

    def report(self, done: int, note: str = "", line: bool = False) -> None:
        """Show that `done` pieces are done; where there is no terminal, print it if a line is due."""
        self.done = done
        self.update(self.task, completed=done, note=note)
        if line and not self.console.is_terminal:
            parts = (f"{self.what} {done}/{self.total}", note, self.left())
            say(self.console, "  ".join(part for part in parts if part))

    def left(self) -> str:
        """Return how long the rest will take at the pace so far, in words."""
        if self.done == self.untimed:
            return self.unknown
        pace = (time.perf_counter() - self.began) / (self.done - self.untimed)
        return f"{pace * (self.total - self.done):.0f} s left"


@final
class StepProgress(ProgressBar):
    """Shows the steps of a run: score, opacity and time left."""

    def __init__(self, console: Console, total: int, heading: str) -> None:
        """Print a heading that names the device and the guidance, and prepare for `total` steps."""
        say(console, heading)
        super().__init__(console, "step", total, unknown="0 s left")
        self.attempt: int | None = None

    def show(self, step: "Step") -> None:
        """Show one more step; a collapse gets a line of its own, and the pace is measured anew after it."""
        if self.attempt is None or step.collapsed is not None:
            self.attempt = step.attempt
            self.restart(step.index)
        if step.collapsed is not None:
            why = f"{step.collapsed.value} by step {step.index}"
            say(self.console, f"attempt {step.attempt + 1}: {why}; starting again from another seed")
        due = step.index % max(1, self.total // _STEP_LINES) == 0 or step.index == self.total
        self.report(step.index, f"score {step.score:.3f}  opacity {step.opacity:.2f}", due)


def show_stages(console: Console, work: "Generator[Advance, None, _Result]") -> _Result:
    """Run work that yields its progress stage by stage, show a bar for each stage, and return the work's result."""
    bar, said = None, 0.0
    with ExitStack() as shown:
        while True:
            try:
                advance = next(work)
            except StopIteration as end:
                return cast(_Result, end.value)
            if bar is None or bar.what != advance.stage:
                shown.close()
                bar = shown.enter_context(ProgressBar(console, advance.stage, advance.total))
                said = time.perf_counter()
            done = bar.done + advance.pieces
            bar.untimed += advance.pieces if advance.cached else 0
            due = bool(advance.note) or done == advance.total or time.perf_counter() - said > _LINE_SECONDS
            said = time.perf_counter() if due else said
            bar.report(done, advance.note, due)
