"""Progress of a run: a live bar on a terminal, some ten plain lines elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dreamfields.cli.terminal import say

if TYPE_CHECKING:
    from dreamfields.optimize.loop import Step

_LINES = 10


@final
class StepProgress:
    """Shows steps as they are done: score, opacity and time left."""

    def __init__(self, console: Console, total: int, heading: str) -> None:
        """Prepare for `total` steps under a heading that names the device and the guidance."""
        self.console = console
        self.total = total
        self.began = time.perf_counter()
        self.first: int | None = None
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn(
                "{task.completed:.0f}/{task.total:.0f}  score {task.fields[score]:.3f}  "
                "opacity {task.fields[opacity]:.2f}"
            ),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(heading, total=total, score=0.0, opacity=0.0)
        if not console.is_terminal:
            say(console, heading)

    def __enter__(self) -> Self:
        """Show the bar."""
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it was last."""
        self.bar.stop()

    def show(self, step: "Step") -> None:
        """Show one more step; a collapse gets a line of its own."""
        if self.first is None or step.collapsed is not None:
            self.first, self.began = step.index, time.perf_counter()
        if step.collapsed is not None:
            why = f"{step.collapsed.value} by step {step.index}"
            say(self.console, f"attempt {step.attempt + 1}: {why}; starting again from another seed")
        self.bar.update(self.task, completed=step.index, score=step.score, opacity=step.opacity)
        if not self.console.is_terminal and (
            step.index % max(1, self.total // _LINES) == 0 or step.index == self.total
        ):
            pace = (time.perf_counter() - self.began) / max(1, step.index - self.first)
            left = pace * (self.total - step.index)
            shown = f"score {step.score:.3f}  opacity {step.opacity:.2f}  {left:.0f} s left"
            say(self.console, f"step {step.index}/{self.total}  {shown}")
