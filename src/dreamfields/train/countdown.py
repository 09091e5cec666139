"""Progress of work whose pieces take about the same time: live on a terminal, a few plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS = 10.0


@final
class ProgressBar:
    """Shows how much of something is done and how long the rest will take."""

    def __init__(self, console: Console, what: str, total: int) -> None:
        """Prepare for `total` pieces of `what`."""
        self.console = console
        self.what = what
        self.total = total
        self.done = 0
        self.quick = 0
        """Pieces that took no time, as they were kept from before."""
        self.began = self.said = time.perf_counter()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task(what, total=total)

    def __enter__(self) -> Self:
        """Start showing."""
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing; what was shown last stays."""
        self.bar.stop()

    def advance(self, pieces: int, kept: bool = False, note: str = "") -> None:
        """Count pieces as done; `kept` ones were known from before and say nothing of how long the others take."""
        self.done += pieces
        self.quick += pieces if kept else 0
        self.bar.update(self.task, completed=self.done, description=f"{self.what}  {note}")
        now = time.perf_counter()
        if not self.console.is_terminal and (now - self.said > _SECONDS or self.done == self.total or note):
            self.said = now
            parts = (f"{self.what} {self.done}/{self.total}", note, self.left())
            self.console.print("  ".join(part for part in parts if part), soft_wrap=True)

    def left(self) -> str:
        """Return in words how long the rest will take at the pace so far; nothing before there is a pace."""
        if self.done == self.quick:
            return ""
        pace = (time.perf_counter() - self.began) / (self.done - self.quick)
        return f"{pace * (self.total - self.done):.0f} s left"
