"""Of many that start in one folder at once one works, and the others say who does."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dreamfields.errors import LockedError
from dreamfields.runs.directory import RunDirectory
from tests.cli.test_cli import TINY_OPTIONS, environment
from tests.support.forks import ROOT
from tests.support.toys import PROMPT


def started_together(tmp_path: Path, count: int) -> None:
    command = [sys.executable, "-m", "dreamfields", "generate", PROMPT, "--out", str(tmp_path), "--steps", "100000"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    several = [
        subprocess.Popen(
            [*command, *TINY_OPTIONS], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment()
        )
        for _ in range(count)
    ]
    try:
        until = time.monotonic() + 300.0
        while len(working := [one for one in several if one.poll() is None]) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        (winner,) = working
        losers = [one for one in several if one is not winner]
        for one, said in zip(losers, (one.communicate()[1] for one in losers), strict=True):
            assert (one.returncode, len(said.splitlines())) == (5, 1), said
            assert f"a-red-ball-0 is in use by process {winner.pid} on " in said
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        # What is timed is the processor's work, for the clock also counts what else the machine does.
        assert spent / (count - 1) < 1.0
    finally:
        for one in several:
            one.send_signal(signal.SIGKILL)
            one.wait()
            assert one.stderr is not None
            one.stderr.close()
    with RunDirectory(tmp_path / "a-red-ball-0").locked():
        pass  # A killed winner holds nothing.


def test_of_four_that_start_at_once_one_works(tmp_path: Path) -> None:
    started_together(tmp_path, 4)


@pytest.mark.reliability
def test_of_twenty_that_start_at_once_one_works(tmp_path: Path) -> None:
    started_together(tmp_path, 20)


def test_a_killed_holder_is_not_named_in_the_place_of_the_present_one(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    (tmp_path / ".lock").write_text("999999999 on this machine since yesterday")
    with (
        directory.locked(),
        pytest.raises(LockedError, match=f"in use by process {os.getpid()} on "),
        RunDirectory(tmp_path).locked(),
    ):
        pass


def test_a_lock_is_not_inherited_by_programs_that_are_started(tmp_path: Path) -> None:
    with RunDirectory(tmp_path).locked():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=ROOT)
    try:
        with RunDirectory(tmp_path).locked():
            pass
    finally:
        child.kill()
        child.wait()


def test_the_holder_may_take_it_again_and_holds_it_until_the_last(tmp_path: Path) -> None:
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    with first.locked():
        with first.locked():
            pass
        with pytest.raises(LockedError, match="in use"), second.locked():
            pass
    with second.locked():
        pass
