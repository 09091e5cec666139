"""Stages of work: a bar for each, the time left from what was computed and not cached, and the work's result."""

import io
import time
from collections.abc import Generator

import pytest
from rich.console import Console

from dreamfields.cli.progress import ProgressBar, show_stages
from dreamfields.train.features import Advance


def shown(work: Generator[Advance, None, int]) -> tuple[int, str]:
    output = io.StringIO()
    return show_stages(Console(file=output), work), output.getvalue()


def test_time_left_is_extrapolated_from_the_pieces_that_were_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    output = io.StringIO()

    def work() -> Generator[Advance, None, int]:
        yield Advance("images:", 100, 40, cached=True)
        clock[0] += 5.0
        yield Advance("images:", 100, 10)
        assert output.getvalue() == ""  # No more often than every ten seconds.
        clock[0] += 20.0
        yield Advance("images:", 100, 40)
        assert output.getvalue() == "images: 90/100  5 s left\n"
        yield Advance("images:", 100, 10)
        return 7

    assert show_stages(Console(file=output), work()) == 7
    assert output.getvalue().endswith("images: 100/100  0 s left\n")


def test_there_is_no_pace_before_anything_was_computed() -> None:
    bar = ProgressBar(Console(file=io.StringIO()), "images:", 10)
    assert bar.left() == ""
    bar.restart(4)
    assert bar.left() == ""


def test_each_stage_has_a_bar_of_its_own_and_notes_are_printed() -> None:
    def work() -> Generator[Advance, None, int]:
        yield Advance("images:", 2, 2, cached=True)
        yield Advance("epochs:", 3, 1, note="loss 0.500")
        return 0

    _, output = shown(work())
    assert output.splitlines()[0] == "images: 2/2"
    assert output.splitlines()[1].startswith("epochs: 1/3  loss 0.500  ")


def test_what_the_work_raises_is_raised() -> None:
    def work() -> Generator[Advance, None, int]:
        yield Advance("images:", 2, 1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        shown(work())
