"""The journal: what a run's files say, however they are being written at the moment."""

import json
import os
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.api import Run, start
from dreamfields.errors import StorageError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.studio.watcher import POINTS, Curve, Journal
from tests.support.toys import PROMPT, tiny_config


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return start(tiny_config(), tmp_path)


def line(index: int, score: float = 0.5, attempt: int = 0, collapsed: str | None = None) -> str:
    values = {"index": index, "total": 12, "attempt": attempt, "score": score, "opacity": 0.3, "collapsed": collapsed}
    return json.dumps(values) + "\n"


def write(run: Run, text: str) -> None:
    with run.directory.metrics.open("a") as file:
        file.write(text)


@given(st.integers(1, 4 * POINTS), st.randoms(use_true_random=False))
def test_a_curve_is_short_and_keeps_the_means(count: int, random: Random) -> None:
    values = [random.uniform(-1.0, 1.0) for _ in range(count)]
    curve = Curve()
    for value in values:
        curve.add(value)
    assert len(curve.points) == count // curve.width <= POINTS
    assert curve.width == 1 or 2 * len(curve.points) >= POINTS - 1  # No coarser than it must be.
    for index, point in enumerate(curve.points):
        whole = values[index * curve.width : (index + 1) * curve.width]
        assert point == pytest.approx(sum(whole) / len(whole), abs=1e-9)


def test_steps_are_read_as_they_come_and_once_each(run: Run) -> None:
    journal = Journal(run.directory)
    assert (journal.record.status, journal.progress.steps, journal.record.config.prompt) == ("started", 0, PROMPT)
    for index in range(1, 6):
        write(run, line(index, score=0.1 * index))
        journal.refresh()
        journal.refresh()
        assert journal.progress.steps == index
        assert journal.progress.last["index"] == index
    assert journal.progress.curve.points == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_line_is_read_once_it_is_whole(run: Run) -> None:
    journal = Journal(run.directory)
    text = line(1) + line(2)
    for position in range(len(text)):
        write(run, text[position])
        journal.refresh()
        assert journal.progress.steps == text[: position + 1].count("\n")


def test_lines_that_make_no_sense_are_passed_over(run: Run) -> None:
    wrong = [
        "{",
        "[]",
        "null",
        '"x"',
        '{"score": null}',
        '{"score": "high"}',
        '{"score": NaN}',
        '{"score": 1e999}',
        "{}",
    ]
    write(run, "".join(f"{text}\n" for text in [*wrong, "[" * 100_000]) + line(1))
    assert Journal(run.directory).progress.steps == 1


def test_a_resume_that_trims_the_metrics_is_followed(run: Run) -> None:
    write(run, "".join(line(index) for index in range(1, 9)))
    journal = Journal(run.directory)
    assert journal.progress.steps == 8
    run.directory.trim_metrics(0, 5)
    journal.refresh()
    assert journal.progress.steps == journal.progress.last["index"] == 5
    # Even where it has grown past its old length by the next look.
    run.directory.trim_metrics(0, 3)
    write(run, "".join(line(index, score=0.9) for index in range(4, 30)))
    journal.refresh()
    assert journal.progress.steps == 29
    assert journal.progress.curve.points[3:] == pytest.approx([0.9] * 26)


def test_idle_seconds_are_the_time_since_the_last_step(run: Run) -> None:
    journal = Journal(run.directory)
    assert journal.idle_seconds == 0.0
    write(run, line(1))
    assert journal.idle_seconds < 60.0
    before = time.time() - 500.0
    os.utime(run.directory.metrics, (before, before))
    assert 499.0 < journal.idle_seconds < 600.0
    later = time.time() + 500.0  # The clock of another machine.
    os.utime(run.directory.metrics, (later, later))
    assert journal.idle_seconds == 0.0


def test_restarts_are_marked(run: Run) -> None:
    write(run, line(1) + line(2, collapsed="full") + line(1, attempt=1) + line(2, attempt=1))
    progress = Journal(run.directory).progress
    assert (progress.steps, progress.restarts, progress.last["attempt"]) == (4, [2], 1)


def test_a_long_history_is_read_in_whole(run: Run) -> None:
    count = 20_000
    write(run, "".join(line(index) for index in range(1, count + 1)))
    assert run.directory.metrics.stat().st_size > 1 << 20
    assert Journal(run.directory).progress.steps == count


def test_what_cannot_be_read_at_the_moment_stays_as_it_was(run: Run) -> None:
    write(run, line(1))
    journal = Journal(run.directory)
    (run.path / "run.json").write_text("{")
    journal.refresh()
    assert (journal.record.status, journal.progress.steps) == ("started", 1)
    (run.path / "run.json").unlink()
    journal.refresh()
    assert journal.record.status == "started"


def test_no_run_or_a_damaged_one_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        Journal(RunDirectory(tmp_path))
    for content in ("{", "{}", '{"format": 1, "status": "finished", "config": {"prompt": ""}}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(StorageError, match=str(tmp_path)):
            Journal(RunDirectory(tmp_path))


def test_only_what_a_run_makes_is_listed(run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"canary")
    made = ["T.STL", "contact_sheet.png", "object.glb", "object.html", "turntable.mp4"]
    for name in [*made, ".hidden.png", "notes.txt", "key.pem", "object.glb.bak"]:
        (run.path / name).write_bytes(b"x")
    (run.path / "linked.png").symlink_to(outside)
    (run.path / "folder.png").mkdir()
    os.mkfifo(run.path / "pipe.png")
    assert list(Journal(run.directory).files()) == made
