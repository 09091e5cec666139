"""A run that is killed at any moment goes on, and ends with the bytes of one that was not."""

import itertools
import json
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dreamfields import api
from dreamfields.config import Config
from dreamfields.runs.checkpoint import manifests
from tests.support.forks import Blow, Forks, Request
from tests.support.toys import TINY, sha256_of, tiny_config

EVERY = 2
"""Steps between checkpoints: often, so that many kills fall into a save."""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """The parent of everything that is killed."""
    with Forks() as parent:
        yield parent


def config_of(seed: int, steps: int, every: int = EVERY) -> Config:
    return tiny_config(replace(TINY, optimize=replace(TINY.optimize, steps=steps, checkpoint_every=every)), seed=seed)


def final_files(folder: Path) -> dict[str, str]:
    """Return the digests of the last state, its manifest, and the metrics."""
    newest = manifests(folder / "checkpoints")[0]
    return {
        path.name: sha256_of(path) for path in (newest, newest.with_suffix(".safetensors"), folder / "metrics.jsonl")
    }


def uninterrupted(config: Config, out: Path) -> dict[str, str]:
    """Return the final files of a run that was never stopped, and never saved on the way."""
    silent = replace(config.recipe, optimize=replace(config.recipe.optimize, checkpoint_every=1_000_000))
    run = api.start(replace(config, recipe=silent), out)
    for _ in run.steps():
        pass
    return final_files(run.path)


def saved_step(folder: Path) -> int:
    """Return the step of the newest checkpoint, from its name."""
    found = manifests(folder / "checkpoints")
    return int(found[0].stem[-8:]) if found else 0


def logged_step(folder: Path) -> int:
    """Return the newest step that the run has logged whole."""
    text = (folder / "metrics.jsonl").read_text() if (folder / "metrics.jsonl").exists() else ""
    whole = text[: text.rfind("\n") + 1].splitlines()
    return int(json.loads(whole[-1])["index"]) if whole else 0


def killed_until_done(forks: Forks, config: Config, out: Path, draws: random.Random, most: int) -> int:
    """Kill a run at random moments until it is done, or so many times, and return how often; it always ends whole."""
    folder = api.start(config, out).path
    kills = 0
    while True:
        blows = [Blow(signal.SIGKILL, draws.randrange(3), draws.choice([0.0, draws.uniform(0.0, 0.02)]))]
        before = saved_step(folder)
        ended = forks.run(Request(str(folder), blows=blows if kills < most else []))
        assert ended.code in (0, -signal.SIGKILL), ended.output
        assert before <= saved_step(folder)
        assert logged_step(folder) - saved_step(folder) <= EVERY
        if ended.code == 0:
            return kills
        kills += 1


def killed(forks: Forks, tmp_path: Path, wanted: int, steps: int) -> None:
    draws, kills = random.Random(7), 0
    for seed in itertools.count():
        config = config_of(seed, steps)
        kills += killed_until_done(forks, config, tmp_path / "killed", draws, wanted - kills)
        folder = tmp_path / "killed" / f"a-red-ball-{seed}"
        assert final_files(folder) == uninterrupted(config, tmp_path / "whole")
        left = [path.name for path in folder.rglob("*") if path.name.endswith(".tmp") or "corrupt" in path.name]
        assert not left
        if kills >= wanted:
            return


def test_some_kills_leave_no_trace(forks: Forks, tmp_path: Path) -> None:
    killed(forks, tmp_path, wanted=6, steps=12)


@pytest.mark.reliability
def test_two_hundred_kills_leave_no_trace(forks: Forks, tmp_path: Path) -> None:
    killed(forks, tmp_path, wanted=200, steps=60)


def test_how_often_it_is_saved_and_shown_changes_nothing(tmp_path: Path) -> None:
    ends = []
    for every in (1, 7, 1_000_000):
        run = api.start(config_of(0, 12, every), tmp_path / str(every))
        for step in run.steps():
            if every == 7 and step.index % 3 == 0:
                run.sheet(tmp_path / "sheet.png")
        ends.append(final_files(run.path))
    assert ends[0] == ends[1] == ends[2]
