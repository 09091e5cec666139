"""The countdown: it extrapolates what was new, and says nothing while all was known."""

import io
import time

import pytest
from rich.console import Console

from dreamfields.train.countdown import ProgressBar


def test_time_left_is_extrapolated_from_the_pieces_that_took_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    output = io.StringIO()
    with ProgressBar(Console(file=output), "pictures:", 100) as counted:
        counted.advance(40, kept=True)
        assert counted.left() == ""
        clock[0] += 5.0
        counted.advance(10)
        assert counted.left() == "25 s left"
        assert output.getvalue() == ""  # Not more often than every ten seconds.
        clock[0] += 20.0
        counted.advance(40)
        assert output.getvalue() == "pictures: 90/100  5 s left\n"
        counted.advance(10)
    assert output.getvalue().endswith("pictures: 100/100  0 s left\n")
