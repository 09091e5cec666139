"""A disk that is full: found before anything is loaded, survived on the way, and one sentence at the end."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dreamfields import api, storage
from dreamfields.cli.main import main
from dreamfields.errors import StorageError
from dreamfields.optimize.settings import Recipe
from dreamfields.runs.checkpoint import load_newest, manifests, save_checkpoint
from dreamfields.runs.checks import checkpoint_bytes, run_bytes
from tests.cli.test_cli import TINY_OPTIONS
from tests.support.calls import System
from tests.support.toys import PROMPT, TINY, TINY_MLP, new_state, sha256_of, tiny_config

STEPS = TINY.optimize.steps


@pytest.mark.parametrize("recipe", [TINY, TINY_MLP, Recipe()], ids=["voxels", "mlp", "default"])
def test_the_size_of_a_checkpoint_is_known_beforehand(recipe: Recipe, tmp_path: Path) -> None:
    state = new_state(recipe)
    for parameter in state.field.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizer.step()  # Adam makes its moments.
    written = save_checkpoint(tmp_path, state).with_suffix(".safetensors").stat().st_size
    assert 0 < checkpoint_bytes(recipe) - written < 0.1 * written + 150_000
    assert written <= state.most_bytes() < 1.1 * checkpoint_bytes(recipe) + 1_000_000
    assert run_bytes(recipe, exports=7) > 3 * written + 7


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("dreamfields.runs.checks.os.statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))


def test_a_disk_with_too_little_room_is_refused_before_anything_is_loaded_or_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room(monkeypatch, 400_000)
    out = tmp_path / "runs"
    with monkeypatch.context() as patched:
        patched.setattr(api.Run, "begin", None)
        assert main(["generate", PROMPT, "--out", str(out), *TINY_OPTIONS]) == 4
    (sentence,) = capsys.readouterr().err.splitlines()
    for part in (str(out), "0.4 MB free", "may take", "choose another --out"):
        assert part in sentence
    assert not out.exists()
    room(monkeypatch, 1000)
    with pytest.raises(StorageError, match=r"0\.0 MB free"):
        api.start(tiny_config(), out)


@pytest.mark.parametrize("out", ["/proc/nowhere", "/dev/null/below"])
def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_loaded(
    out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api.Run, "begin", None)
    assert main(["generate", PROMPT, "--out", out, *TINY_OPTIONS]) == 4
    (sentence,) = capsys.readouterr().err.splitlines()
    assert out in sentence


class FullDisk(System):
    """A disk that takes no more bytes while it is full."""

    full = False

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "ftruncate") and self.full:
            return self._refuse
        return super().__getattr__(name)

    def _refuse(self, *_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    """The disk that everything is written to, with room at first."""
    full = FullDisk()
    monkeypatch.setattr(storage, "os", full)
    return full


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    """A run with room for everything."""
    run = api.start(tiny_config(), tmp_path_factory.mktemp("whole"))
    for _ in run.steps():
        pass
    return run


def test_a_disk_that_is_full_for_a_while_costs_nothing_but_a_note(
    disk: FullDisk, whole: api.Run, tmp_path: Path
) -> None:
    run = api.start(tiny_config(), tmp_path)
    for step in run.steps():
        disk.full = 3 <= step.index <= 7  # The checkpoint of step 5 is among what cannot be written.
        if step.index == 7:
            assert not manifests(run.directory.checkpoints)
    assert run.directory.metrics.read_bytes() == whole.directory.metrics.read_bytes()
    newest = [manifests(one.directory.checkpoints)[0] for one in (run, whole)]
    assert newest[0].read_bytes() == newest[1].read_bytes()
    assert sha256_of(newest[0].with_suffix(".safetensors")) == sha256_of(newest[1].with_suffix(".safetensors"))
    for part in ("metrics wait until they can be written", "will save again at the next interval"):
        (note,) = (note for note in run.notes if part in note)
        assert "No space left on device" in note
        assert " free)" in note
    assert run.status == "optimized"


def test_a_disk_that_stays_full_is_a_sentence_at_the_end_and_the_older_checkpoint_stays(
    disk: FullDisk, whole: api.Run, tmp_path: Path
) -> None:
    run = api.start(tiny_config(), tmp_path)
    steps = run.steps()
    for _ in range(7):
        next(steps)
    disk.full = True
    with pytest.raises(StorageError, match=r"cannot write .*attempt-000-step-00000012.*No space left") as caught:
        list(steps)
    assert caught.value.exit_code == 4
    disk.full = False
    assert load_newest(run.directory.checkpoints).counters["step"] == 5
    assert not list(run.path.rglob("*.tmp"))
    again = api.load(run.path)
    for _ in again.steps():
        pass
    assert again.directory.metrics.read_bytes() == whole.directory.metrics.read_bytes()


def test_half_a_line_of_metrics_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class HalfWrites(System):
        def _watched(self, name: str, real: Any) -> Any:
            def call(*given: Any) -> Any:
                if name != "write":
                    return real(*given)
                if self.ended:
                    raise OSError(errno.ENOSPC, "full")
                self.ended = True
                return real(given[0], given[1][:3])

            return call

    storage.append_line(tmp_path / "log", "first")
    with monkeypatch.context() as patched:
        patched.setattr(storage, "os", HalfWrites())
        with pytest.raises(StorageError, match="cannot write"):
            storage.append_line(tmp_path / "log", "second")
    storage.append_line(tmp_path / "log", "third")
    assert (tmp_path / "log").read_text() == "first\nthird\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for 200 kB; only root may make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of its own can be made by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_disk_that_fills_loses_nothing(
    small_disk: Path, tmp_path: Path, whole: api.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        room(patched, 10**9)
        run = api.start(tiny_config(), small_disk)
    filler, steps = small_disk / "filler", run.steps()
    for _ in range(7):
        next(steps)
    fill(filler)
    with pytest.raises(StorageError, match="No space left"):
        list(steps)
    assert load_newest(run.directory.checkpoints).counters["step"] == 5
    filler.unlink()
    for _ in api.load(run.path).steps():
        pass
    newest = [manifests(one.directory.checkpoints)[0] for one in (run, whole)]
    assert newest[0].read_bytes() == newest[1].read_bytes()
    lines = [json.loads(line)["index"] for line in run.directory.metrics.read_text().splitlines()]
    assert lines == list(range(1, STEPS + 1))


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1000))
        except OSError:
            return
