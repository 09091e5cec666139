"""Progress: a few plain lines where there is no terminal, a live bar where there is one."""

import io
import re
import time

import pytest
from rich.console import Console

from dreamfields.cli.progress import StepProgress
from dreamfields.optimize.collapse import Verdict
from dreamfields.optimize.loop import Step


def step(index: int, total: int, attempt: int = 0, collapsed: Verdict | None = None) -> Step:
    return Step(index, total, attempt, score=0.25, loss=-0.5, opacity=0.5, fog=0.0, seconds=1.0, collapsed=collapsed)


def shown(total: int, steps: list[Step], *, terminal: bool = False) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120, highlight=False)
    with StepProgress(console, total, "toy guidance on cpu") as bar:
        for one in steps:
            bar.show(one)
    return screen.getvalue()


@pytest.mark.parametrize(("total", "lines"), [(1, 1), (7, 7), (10, 10), (100, 10), (109, 11)])
def test_away_from_a_terminal_there_is_a_heading_and_some_ten_lines(total: int, lines: int) -> None:
    text = shown(total, [step(index, total) for index in range(1, total + 1)]).splitlines()
    assert text[0] == "toy guidance on cpu"
    assert len(text) == 1 + lines
    for line in text[1:]:
        assert re.fullmatch(rf"step \d+/{total}  score 0\.250  opacity 0\.50  \d+ s left", line)
    assert text[-1].startswith(f"step {total}/{total} ")


def test_the_time_left_follows_the_pace_of_the_steps_seen_here(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    screen = io.StringIO()
    bar = StepProgress(Console(file=screen, width=120), 100, "heading")
    for index in range(51, 71):  # Resumed half-way; 2 seconds a step.
        clock[0] += 2.0
        bar.show(step(index, 100))
    last = screen.getvalue().splitlines()[-1]
    assert last.startswith("step 70/100")
    assert last.endswith("  60 s left")


def test_a_collapse_is_said_in_a_line_of_its_own() -> None:
    for terminal in (False, True):
        text = shown(100, [step(1, 100), step(12, 100, 0, Verdict.EMPTY), step(1, 100, 1)], terminal=terminal)
        assert "attempt 1: the object faded away by step 12; starting again from another seed" in text


def test_on_a_terminal_the_bar_shows_steps_score_and_opacity() -> None:
    text = shown(20, [step(index, 20) for index in range(1, 21)], terminal=True)
    for part in ("toy guidance on cpu", "20/20", "score 0.250", "opacity 0.50"):
        assert part in text
