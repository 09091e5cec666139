"""A run that is asked to stop saves, says how to go on with the right exit code, and goes on exactly."""

import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dreamfields import api
from dreamfields.config import Config
from tests.reliability.test_kills import config_of, final_files, logged_step, saved_step, uninterrupted
from tests.support.forks import Blow, Forks, Request
from tests.support.toys import TINY, tiny_config

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """The parent of everything that is stopped."""
    with Forks() as parent:
        yield parent


def stopped(forks: Forks, folder: Path, blow: Blow) -> None:
    """Stop a run at a moment; nothing that it has done may be lost."""
    ended = forks.run(Request(str(folder), ["resume", str(folder)], [blow]))
    assert ended.code == 128 + blow.number, ended.output
    assert ended.seconds < 10.0
    assert ended.output.splitlines()[-1] == f"stopped and saved; go on with: dreamfields resume {folder}"
    assert "Traceback" not in ended.output
    assert saved_step(folder) == logged_step(folder) > 0


def stopped_often(forks: Forks, tmp_path: Path, times: int, steps: int) -> None:
    config, draws = config_of(0, steps, every=1_000_000), random.Random(5)
    folder = api.start(config, tmp_path / "stopped").path
    for index in range(times):
        stopped(forks, folder, Blow(SIGNALS[index % 3], 1 + draws.randrange(3), draws.uniform(0.0, 0.02)))
    assert forks.run(Request(str(folder))).code == 0
    assert final_files(folder) == uninterrupted(config, tmp_path / "whole")


def test_a_run_stopped_by_each_signal_goes_on_exactly(forks: Forks, tmp_path: Path) -> None:
    stopped_often(forks, tmp_path, times=3, steps=100)


@pytest.mark.reliability
def test_a_run_stopped_at_twelve_moments_goes_on_exactly(forks: Forks, tmp_path: Path) -> None:
    stopped_often(forks, tmp_path, times=12, steps=300)


def slow_config() -> Config:
    """Return the configuration of a run whose steps take a good part of a second."""
    render = replace(TINY.render, size=128, samples=64)
    optimize = replace(TINY.optimize, steps=1000, views=8, backgrounds=4)
    return tiny_config(replace(TINY, render=render, optimize=optimize))


@pytest.mark.parametrize(("first", "second"), [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP)])
def test_a_second_signal_ends_it_within_a_second_and_files_stay_whole(
    forks: Forks, tmp_path: Path, first: int, second: int
) -> None:
    folder = api.start(slow_config(), tmp_path).path
    blows = [Blow(first, lines=1), Blow(second)]  # Of two numbers, as the kernel makes one of two equal ones.
    ended = forks.run(Request(str(folder), ["resume", str(folder)], blows))
    # A machine may be so busy that both wait for the process, and the kernel hands over the higher number first.
    assert ended.code in (128 + first, 128 + second), ended.output
    assert ended.seconds < 1.0
    assert "stopped and saved" not in ended.output
    assert api.load(folder).load_state().step == saved_step(folder)


def test_a_signal_while_it_loads_has_nothing_to_wait_for(forks: Forks, tmp_path: Path) -> None:
    folder = api.start(config_of(0, 1000), tmp_path).path
    ended = forks.run(Request(str(folder), ["resume", str(folder)], [Blow(signal.SIGINT, seconds=0.1)]))
    # Before its handlers are there the kernel ends it, which shells show as 130, too.
    assert ended.code in (130, -signal.SIGINT), ended.output
    assert "Traceback" not in ended.output
    assert forks.run(Request(str(folder), ["resume", str(folder)], [Blow(signal.SIGTERM, lines=2)])).code == 143
