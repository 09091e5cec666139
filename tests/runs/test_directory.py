"""The run directory: names that are safe and tell prompts apart, one process at a time, and metrics without repeats."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.errors import LockedError, StorageError, UsageError
from dreamfields.guidance.prompts import clean_prompt
from dreamfields.optimize.collapse import Verdict
from dreamfields.optimize.loop import Step
from dreamfields.runs.directory import RunDirectory, directory_name, run_path


def step(index: int, attempt: int = 0, collapsed: Verdict | None = None) -> Step:
    return Step(index, 10, attempt, score=0.25, loss=-0.5, opacity=0.5, fog=0.1, seconds=1.5, collapsed=collapsed)


def logged(directory: RunDirectory) -> list[tuple[int, int]]:
    lines = [json.loads(line) for line in directory.metrics.read_text().splitlines()]
    return [(line["attempt"], line["index"]) for line in lines]


def test_names_are_plain_words_where_they_can_be() -> None:
    assert directory_name("a teapot", 0) == "a-teapot-0"
    assert directory_name("a teapot 2", 12) == "a-teapot-2-12"


@given(st.text(alphabet=st.characters(), min_size=1, max_size=80), st.integers(0, 2**31 - 1))
def test_any_prompt_gets_a_safe_name(text: str, seed: int) -> None:
    try:
        prompt = clean_prompt(text)
    except UsageError:
        return
    name = directory_name(prompt, seed)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= 40 + 1 + 8 + 1 + 10
    assert name.endswith(f"-{seed}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a cafe", "a caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("a-b", "a b"),
        ("x" * 41, "x" * 42),
        ("a teapot!", "a teapot"),
        ("A TEAPOT", "a teapot"),
        ("A Teapot", "A TEAPOT"),
        ("\N{FIRE}", "\N{DROPLET}"),
        ("../../etc", "etc"),
        ("a " + "long " * 10 + "cat", "a " + "long " * 10 + "dog"),
    ],
)
def test_prompts_that_would_look_alike_are_told_apart(one: str, other: str) -> None:
    assert directory_name(one, 0) != directory_name(other, 0)


def test_a_new_run_needs_a_folder_and_a_free_name(tmp_path: Path) -> None:
    directory = RunDirectory(run_path(tmp_path / "runs", "a teapot", 0))
    directory.refuse_taken()
    assert directory.path == tmp_path / "runs" / "a-teapot-0"
    assert not directory.path.exists()
    directory.write_record({})
    with pytest.raises(UsageError, match=r"already holds a run .* --seed or --out.*dreamfields resume .*a-teapot-0$"):
        directory.refuse_taken()
    RunDirectory(run_path(tmp_path / "runs", "a teapot", 1)).refuse_taken()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="which is a file"):
        run_path(tmp_path / "file", "a teapot", 0)


def test_a_record_comes_back_and_is_text_for_people(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    assert not directory.exists()
    directory.write_record({"prompt": "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "n": 1})
    assert directory.exists()
    assert directory.read_record() == {"prompt": "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "n": 1}
    assert "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode() in (directory.path / "run.json").read_bytes()


def test_no_run_is_another_mistake_than_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run \(no run.json\)"):
        RunDirectory(tmp_path).read_record()
    for content in (b"", b"{", b"[1]", b"\xff", b"3", b"[" * 100_000):
        (tmp_path / "run.json").write_bytes(content)
        with pytest.raises(StorageError, match=r"run\.json"):
            RunDirectory(tmp_path).read_record()


def test_a_line_a_step_without_the_clock(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.log(step(1))
    directory.log(step(2, collapsed=Verdict.EMPTY))
    first, second = (json.loads(line) for line in directory.metrics.read_text().splitlines())
    assert first == {
        "index": 1,
        "total": 10,
        "attempt": 0,
        "score": 0.25,
        "loss": -0.5,
        "opacity": 0.5,
        "fog": 0.1,
        "collapsed": None,
        "skipped": None,
        "rolled_back": False,
    }
    assert second["collapsed"] == "empty"


def test_trimming_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.trim_metrics(0, 0)
    assert not directory.metrics.exists()
    for attempt, index in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]:
        directory.log(step(index, attempt))
    directory.trim_metrics(1, 1)
    assert logged(directory) == [(0, 1), (0, 2), (0, 3), (1, 1)]
    directory.trim_metrics(0, 2)
    assert logged(directory) == [(0, 1), (0, 2)]


def test_a_line_torn_by_a_crash_ends_the_metrics(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.log(step(1))
    directory.log(step(2))
    whole = directory.metrics.read_bytes()
    directory.metrics.write_bytes(whole[:-20])
    directory.trim_metrics(0, 9)
    assert logged(directory) == [(0, 1)]
    directory.log(step(2))
    assert directory.metrics.read_bytes() == whole


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    with first.locked():
        with (
            pytest.raises(LockedError, match=f"in use by process {os.getpid()} on .* since .*; wait for it"),
            second.locked(),
        ):
            pass
        with pytest.raises(LockedError), second.locked():  # The refusal did not free it.
            pass
    with second.locked():
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    code = f"""
import os, pathlib
from dreamfields.runs.directory import RunDirectory
with RunDirectory(pathlib.Path({str(tmp_path)!r})).locked():
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 9
    with RunDirectory(tmp_path).locked():
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")


def test_a_folder_that_cannot_be_locked_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / ".lock").mkdir()
    for path in (tmp_path / "file" / "below", tmp_path):
        with pytest.raises(StorageError, match="cannot work in"), RunDirectory(path).locked():
            pass


def test_a_step_without_a_number_is_null_in_the_metrics(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    step = Step(1, 5, 0, float("nan"), float("inf"), 0.5, 0.1, 1.0, None)
    directory.log(step)
    (line,) = directory.metrics.read_text().splitlines()
    values = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (values["score"], values["loss"], values["opacity"]) == (None, None, 0.5)
