"""Damaged and hostile checkpoints are refused in a sentence, run nothing, take no room, and cost one checkpoint."""

import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from dreamfields import api
from dreamfields.cli.main import main
from dreamfields.errors import CheckpointError
from dreamfields.optimize.state import TrainingState
from dreamfields.runs.checkpoint import load_newest, manifests, save_checkpoint
from tests.support.forge import HOSTILE, Forger, class_names
from tests.support.toys import advance, fingerprint, new_state, tiny_config

PAGE = 4096


def flipped(content: bytes, draws: random.Random) -> bytes:
    changed = bytearray(content)
    changed[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    return bytes(changed)


def truncated(content: bytes, draws: random.Random) -> bytes:
    return content[: draws.randrange(len(content))]


def page_of_zeros(content: bytes, draws: random.Random) -> bytes:
    start = draws.randrange(max(1, len(content) // PAGE + 1)) * PAGE
    zeros = bytes(len(content[start : start + PAGE]))
    # A page that is all zeros already would not be damaged.
    return content[:start] + zeros + content[start + PAGE :] if any(content[start : start + PAGE]) else content[:-1]


def appended(content: bytes, draws: random.Random) -> bytes:
    return content + draws.randbytes(draws.randrange(1, 100))


def spaces_appended(content: bytes, draws: random.Random) -> bytes:
    return content + b" " * draws.randrange(1, 100)


KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flipped,
    truncated,
    page_of_zeros,
    appended,
    spaces_appended,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The manifests of an older and a newer checkpoint in one folder; tests put back what they damage."""
    folder, state = tmp_path_factory.mktemp("pair"), new_state()
    advance(state, 2)
    older = save_checkpoint(folder, state)
    advance(state, 1)
    return older, save_checkpoint(folder, state)


def damaged_many_times(pair: tuple[Path, Path], count: int) -> None:
    """Damage the newer checkpoint in many ways; each time it must be refused and the older one be used."""
    older, newer = pair
    draws, files = random.Random(11), (newer, newer.with_suffix(".safetensors"))
    originals = {path: path.read_bytes() for path in (*files, older, older.with_suffix(".safetensors"))}
    for index in range(count):
        path, kind = files[index % 2], KINDS[index // 2 % len(KINDS)]
        if index % 50 == 49:  # Files of the two checkpoints change places.
            mine, other = path, older if path == newer else older.with_suffix(".safetensors")
            mine.write_bytes(originals[other])
        else:
            path.write_bytes(kind(originals[path], draws))
        found = load_newest(newer.parent)
        assert found.counters["step"] == 2, f"damage {index} by {kind.__name__} of {path.name} was not noticed"
        (fault,) = found.passed_over.values()
        assert newer.stem in fault
        assert "\n" not in fault
        path.write_bytes(originals[path])
    assert load_newest(newer.parent).counters["step"] == 3


def test_a_hundred_damaged_checkpoints_are_refused(pair: tuple[Path, Path]) -> None:
    damaged_many_times(pair, 100)


@pytest.mark.reliability
def test_two_thousand_damaged_checkpoints_are_refused(pair: tuple[Path, Path]) -> None:
    damaged_many_times(pair, 2000)


@pytest.fixture(scope="module")
def trained() -> TrainingState:
    """A state after some steps; tests only read it."""
    state = new_state()
    advance(state, 2)
    return state


def test_an_honest_forgery_is_read(trained: TrainingState, tmp_path: Path) -> None:
    forger = Forger(tmp_path, trained)
    forger.write()
    saved, restored = load_newest(tmp_path), new_state()
    restored.restore(saved.tensors, saved.counters)
    assert fingerprint(restored) == fingerprint(trained)


def restore(folder: Path, state: TrainingState) -> None:
    """Bring a state to where the newest checkpoint in a folder left it."""
    saved = load_newest(folder, largest=state.most_bytes())
    state.restore(saved.tensors, saved.counters)


@pytest.mark.parametrize("forge", HOSTILE, ids=lambda forge: forge.__name__)
def test_a_hostile_checkpoint_is_refused_in_one_line_and_runs_nothing(
    trained: TrainingState, tmp_path: Path, forge: Callable[[Forger], None]
) -> None:
    (tmp_path / "checkpoints").mkdir()
    forger, state = Forger(tmp_path / "checkpoints", trained), new_state()
    forge(forger)
    (manifest,) = manifests(forger.folder)
    data = manifest.with_suffix(".safetensors")
    size = data.stat().st_size if data.is_file() and not data.is_symlink() else 0
    began = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            restore(forger.folder, state)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert peak < 1.2 * min(size, state.most_bytes()) + 64e6
    assert time.process_time() - began < 2.0
    assert not forger.marker.exists()


def test_a_damaged_checkpoint_costs_a_run_one_interval_is_said_once_and_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, run = api.start(tiny_config(), tmp_path / "1"), api.start(tiny_config(), tmp_path / "2")
    for _ in whole.steps():
        pass
    steps = run.steps()
    for _ in range(11):
        next(steps)
    steps.close()
    newest = manifests(run.directory.checkpoints)[0]
    data = newest.with_suffix(".safetensors")
    damage = data.read_bytes()[:-9]
    data.write_bytes(damage)
    for command in (["render", str(run.path), "--size", "8"], ["resume", str(run.path)]):
        assert main(command) == 0
        said = capsys.readouterr().out
        assert said.count("note: the checkpoint") == 1
    assert (
        said.count("is damaged: its data are not those that were written; the one before it, of step 10, is used") == 1
    )
    (aside,) = run.directory.checkpoints.glob(f"{data.name}.corrupt-*")
    assert aside.read_bytes() == damage
    assert list(run.directory.checkpoints.glob(f"{newest.name}.corrupt-*"))
    for ours, theirs in zip(*(manifests(one.directory.checkpoints) for one in (run, whole)), strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    assert main(["resume", str(run.path)]) == 0
    assert "is damaged:" not in capsys.readouterr().out


def test_a_checkpoint_that_is_whole_but_does_not_fit_is_passed_over_too(
    tmp_path: Path, trained: TrainingState, capsys: pytest.CaptureFixture[str]
) -> None:
    run = api.start(tiny_config(), tmp_path)
    steps = run.steps()
    for _ in range(6):
        next(steps)
    steps.close()
    forger = Forger(run.directory.checkpoints, trained)
    class_names(forger)
    assert main(["resume", str(run.path)]) == 0
    assert "does not fit the run's settings" in capsys.readouterr().out
    assert len(list(run.directory.checkpoints.glob("*.corrupt-*"))) == 2
    assert api.load(run.path).load_state().step == run.config.recipe.optimize.steps


def test_with_nothing_whole_left_all_stays_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = api.start(tiny_config(), tmp_path)
    for _ in run.steps():
        pass
    for path in run.directory.checkpoints.iterdir():
        path.write_bytes(b"")
    before = sorted(path.name for path in run.directory.checkpoints.iterdir())
    assert main(["resume", str(run.path)]) == 4
    (sentence,) = capsys.readouterr().err.splitlines()
    assert manifests(run.directory.checkpoints)[0].stem in sentence
    assert sorted(path.name for path in run.directory.checkpoints.iterdir()) == before
