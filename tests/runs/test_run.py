"""What a run says of itself without loading anything: prompt, seed, score, metrics, and one line for a terminal."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from dreamfields.api import Run, load, start
from dreamfields.cli.runs import summarize
from dreamfields.runs.checkpointer import Checkpointer
from tests.support.toys import PROMPT, TINY, tiny_config


@pytest.fixture(scope="module")
def optimized(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = start(tiny_config(seed=3), tmp_path_factory.mktemp("runs"))
    for _ in run.steps():
        pass
    return run


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a checkpoint nor the number of torch's threads may be touched."""
    monkeypatch.setattr(Checkpointer, "restore", None)
    monkeypatch.setattr(torch, "set_num_threads", None)


@pytest.mark.usefixtures("untouched")
def test_properties_tell_what_the_run_is(optimized: Run) -> None:
    run = load(optimized.path)
    assert (run.prompt, run.seed) == (PROMPT, 3)
    steps = [json.loads(line) for line in run.directory.metrics.read_text().splitlines()]
    assert run.metrics == steps
    assert len(steps) == TINY.optimize.steps
    assert run.score == pytest.approx(sum(step["score"] for step in steps) / len(steps))
    assert run.score == summarize(run.path).score


@pytest.mark.usefixtures("untouched")
def test_metrics_are_read_fresh_and_torn_lines_skipped(optimized: Run, tmp_path: Path) -> None:
    run = load(shutil.copytree(optimized.path, tmp_path / "run"))
    before = run.metrics
    with run.directory.metrics.open("a") as file:
        file.write(json.dumps(before[-1] | {"index": 13, "score": 0.5}) + '\n{"index": 14, "att')
    assert [step["index"] for step in run.metrics] == list(range(1, 14))


@pytest.mark.usefixtures("untouched")
def test_a_run_is_one_line(optimized: Run, tmp_path: Path) -> None:
    run = load(shutil.copytree(optimized.path, tmp_path / "run"))
    line = f'<Run "{PROMPT}", seed 3, optimized, 12 of 12 steps, score {run.score:.3f}, {run.path}>'
    assert repr(run) == str(run) == line
    shutil.rmtree(run.path)
    assert repr(run) == f'<Run "{PROMPT}", seed 3, optimized, 12 steps, {run.path}>'
    assert (run.score, run.metrics) == (None, [])


def test_before_any_step_there_is_no_score(tmp_path: Path) -> None:
    run = start(tiny_config(prompt="a ball " + "and another " * 30), tmp_path)
    assert (run.score, run.metrics) == (None, [])
    assert repr(run).startswith('<Run "a ball and another and another and an...", seed 0, started, 12 steps, ')


def test_a_page_is_written_as_the_viewer_s_documentation_says(optimized: Run, tmp_path: Path) -> None:
    path = optimized.viewer(tmp_path / "burger.html")
    assert path == tmp_path / "burger.html"
    page = path.read_text("utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert PROMPT in page
