"""A save that is cut short at any call of the system, or by a loss of power, leaves the old state or the new one."""

import errno
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamfields import storage
from dreamfields.errors import StorageError
from dreamfields.optimize.state import TrainingState
from dreamfields.runs.checkpoint import load_newest, save_checkpoint, sweep_orphans
from tests.support.calls import ERRNOS, Call, Crashed, Fault, System
from tests.support.toys import advance, new_state

OLD, NEW = 3, 4


class Saves:
    """A folder with checkpoints of steps 2 and 3, again and again, and the state of step 4 to be saved into it."""

    def __init__(self, template: Path, work: Path, state: TrainingState) -> None:
        self.template, self.folder, self.state = template, work, state

    def save(self, system: System, patch: pytest.MonkeyPatch) -> BaseException | None:
        """Save step 4 into a fresh copy under a system with a fault, and return what was raised."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)
        with patch.context() as patched:
            patched.setattr(storage, "os", system)
            try:
                save_checkpoint(self.folder, self.state)
            except (Crashed, StorageError) as raised:
                return raised
        return None

    def step(self) -> int:
        """Return the step that a resumed run would go on from."""
        return int(load_newest(self.folder).counters["step"])


@pytest.fixture(scope="module")
def saves(tmp_path_factory: pytest.TempPathFactory) -> Saves:
    """A folder for the saves."""
    root = tmp_path_factory.mktemp("saves")
    state = new_state()
    for _ in range(2, OLD + 1):
        advance(state, 2 if state.step == 0 else 1)
        save_checkpoint(root / "template", state)
    advance(state, 1)
    return Saves(root / "template", root / "work", state)


def calls_of(saves: Saves, patch: pytest.MonkeyPatch) -> list[Call]:
    """Return the calls of a save that meets no fault."""
    system = System()
    assert saves.save(system, patch) is None
    assert saves.step() == NEW
    return system.calls


def temporary(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_the_save_makes_the_calls_that_the_faults_below_are_for(saves: Saves, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [call.name for call in calls_of(saves, monkeypatch)]
    one_file = ["open", "write", "fsync", "close", "replace", "open", "fsync", "close", "unlink"]
    assert names == [*one_file, *one_file, "unlink", "unlink"]


def test_a_crash_before_or_after_any_call_leaves_old_or_new(saves: Saves, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(calls_of(saves, monkeypatch))
    faults: list[Fault] = ["crash before", "crash after"]
    seen = []
    for at, fault in itertools.product(range(count), faults):
        assert isinstance(saves.save(System(fault, at), monkeypatch), Crashed)
        step = saves.step()
        assert step in (OLD, NEW)
        seen.append(step)
        storage.sweep(saves.folder)
        sweep_orphans(saves.folder)
        assert not temporary(saves.folder)
        assert {path.suffix for path in saves.folder.iterdir()} == {".json", ".safetensors"}
        assert saves.step() == step
    assert seen == sorted(seen)  # Once the new state is there it stays.
    assert set(seen) == {OLD, NEW}


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_a_refusal_of_any_call_leaves_old_or_new_and_no_rest(
    saves: Saves, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at, call in enumerate(calls_of(saves, monkeypatch)):
        raised = saves.save(System(number, at), monkeypatch)
        assert saves.step() in ((OLD, NEW) if raised else (NEW,))
        assert not [path for path in temporary(saves.folder) if call.name != "unlink"]
        if call.name != "unlink":
            assert isinstance(raised, StorageError)
            assert str(saves.folder) in str(raised)
            assert (" free)" in str(raised)) == (number in (errno.ENOSPC, errno.EDQUOT))
        else:
            assert raised is None  # What cannot be deleted costs no run.


def test_a_short_write_is_gone_on_with(saves: Saves, monkeypatch: pytest.MonkeyPatch) -> None:
    for at, call in enumerate(calls_of(saves, monkeypatch)):
        if call.name == "write":
            assert saves.save(System("short", at), monkeypatch) is None
            assert saves.step() == NEW
            assert not temporary(saves.folder)


Disk = dict[str, bytes]


def after_power_loss(start: Disk, calls: list[Call]) -> Iterator[Disk]:
    """Yield every state of the disk that calls may have left behind when the power fails after the last of them.

    The model of SQLite's crash tests: what is written reaches the disk whole only by `fsync` of the file, else all,
    half, none of it or zeros do; names reach it only by `fsync` of the folder, else any of the changes since then do.
    """
    written: dict[str, bytes] = {}
    durable: set[str] = set()
    changes: list[Call] = []
    names: dict[str, str | None] = {name: name for name in start}  # Name on the disk -> which content it shows.
    contents = dict(start)
    for call in calls:
        name = call.path.name
        if call.name == "open" and name.endswith(".tmp"):
            written[name] = b""
            changes.append(call)
        elif call.name == "write":
            written[name] += call.content
        elif call.name == "fsync" and name in written:
            durable.add(name)
        elif call.name == "fsync":
            for change in changes:
                apply(change, names)
            changes = []
        elif call.name in ("replace", "unlink"):
            changes.append(call)
    torn = [name for name in written if name not in durable]
    for kept in itertools.product([False, True], repeat=len(changes)):
        shown = dict(names)
        for change, keep in zip(changes, kept, strict=True):
            if keep:
                apply(change, shown)
        for damage in itertools.product(range(4), repeat=len(torn)):
            now = contents | written
            for name, how in zip(torn, damage, strict=True):
                full = written[name]
                now[name] = (full, b"", full[: len(full) // 2], bytes(len(full)))[how]
            yield {name: now[source] for name, source in shown.items() if source is not None}


def apply(change: Call, names: dict[str, str | None]) -> None:
    """Change a folder's names as one call does."""
    if change.name == "open":
        names[change.path.name] = change.path.name
    elif change.name == "unlink":
        names.pop(change.path.name, None)
    elif change.other is not None:
        # The source may not have reached the disk under its first name; the content is the same.
        names.pop(change.path.name, None)
        names[change.other.name] = change.path.name


def steps_on(disks: Iterator[Disk], folder: Path) -> set[int]:
    """Return the steps that runs would go on from on these disks."""
    steps = set()
    for state in {tuple(sorted(disk.items())) for disk in disks}:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in state:
            (folder / name).write_bytes(content)
        steps.add(int(load_newest(folder).counters["step"]))
    return steps


def test_a_loss_of_power_at_any_moment_leaves_old_or_new_and_after_the_save_new(
    saves: Saves, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = calls_of(saves, monkeypatch)
    start = {path.name: path.read_bytes() for path in saves.template.iterdir()}
    found = [steps_on(after_power_loss(start, calls[:index]), tmp_path / "disk") for index in range(len(calls) + 1)]
    assert found[0] == {OLD}
    assert all(steps <= {OLD, NEW} for steps in found)
    assert {OLD, NEW} in found  # The rename of the manifest is the moment that counts.
    assert found[-1] == {NEW}
