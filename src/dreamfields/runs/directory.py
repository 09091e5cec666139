"""The run directory: one folder that holds all of a run, and a lock so that one process at a time works in it.

::

    runs/a-teapot-0/
        run.json            prompt, every setting, versions, status, times: what the run is
        metrics.jsonl       one line a step
        checkpoints/        the two newest states
        contact_sheet.png, turntable.mp4, object.glb, ...: what it made
"""

import dataclasses
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from dreamfields.errors import StorageError, UsageError
from dreamfields.runs.lock import FolderLock
from dreamfields.storage import append_line, atomic_write, read_regular, sweep

if TYPE_CHECKING:
    # For types only: a command must be able to refuse a folder before torch is loaded.
    from dreamfields.optimize.loop import Step

RECORD = "run.json"
_SLUG_LENGTH = 40
_LARGEST_RECORD = 4_000_000
_LINES_KEPT = 10_000
"""Lines of metrics that wait for a disk that is full."""


@final
class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        """Name a run directory; nothing is read or written yet."""
        self.path = path
        self._lock = FolderLock(path)
        self._unwritten: list[str] = []

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """Return the file with one line a step."""
        return self.path / "metrics.jsonl"

    @property
    def _checkpoint_request(self) -> Path:
        return self.path / ".checkpoint-wanted"

    def exists(self) -> bool:
        """Tell whether a run has been started here."""
        return (self.path / RECORD).is_file()

    def refuse_taken(self) -> None:
        """Make sure that no run has been started here.

        Raises:
            UsageError: there is one.
        """
        if self.exists():
            raise UsageError(
                f"{self.path} already holds a run of this prompt and seed; continue it with: "
                f"dreamfields resume {self.path}, or choose another --seed or --out"
            )

    def read_record(self) -> dict[str, Any]:
        """Return what run.json says.

        Raises:
            UsageError: there is no run here.
            StorageError: run.json cannot be understood.
        """
        if not self.exists():
            raise UsageError(f"{self.path} holds no run (no {RECORD}); name a folder such as runs/a-teapot-0")
        try:
            record = json.loads(read_regular(self.path / RECORD, _LARGEST_RECORD))
        except (OSError, ValueError, RecursionError) as error:
            raise StorageError(f"{self.path / RECORD} cannot be read: {error}") from error
        if not isinstance(record, dict):
            raise StorageError(f"{self.path / RECORD} is not a run's record")
        return record

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace run.json."""
        atomic_write(self.path / RECORD, json.dumps(record, indent=2, ensure_ascii=False).encode())

    def log(self, step: "Step") -> None:
        """Add a step to the metrics; the time it took is left to run.json, so equal runs have equal metrics.

        Raises:
            StorageError: the line cannot be written; it is kept, and written before the next one.
        """
        values = dataclasses.asdict(dataclasses.replace(step, collapsed=None))
        del values["seconds"]
        values["collapsed"] = step.collapsed.name.lower() if step.collapsed is not None else None
        # JSON knows no NaN, which a skipped step may have.
        finite = {name: None if _is_odd(value) else value for name, value in values.items()}
        self._unwritten = [*self._unwritten, json.dumps(finite)][-_LINES_KEPT:]
        append_line(self.metrics, "\n".join(self._unwritten))
        self._unwritten = []

    def trim_metrics(self, attempt: int, step: int) -> None:
        """Drop what was logged after a checkpoint, so that resuming logs each step once."""
        self._unwritten = []
        if not self.metrics.exists():
            return
        kept = [line for line in _lines(self.metrics) if (line["attempt"], line["index"]) <= (attempt, step)]
        atomic_write(self.metrics, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def sweep(self) -> None:
        """Delete what killed writers left; to be called under the lock."""
        for folder in (self.path, self.checkpoints):
            sweep(folder)

    def request_checkpoint(self) -> None:
        """Ask whoever optimises here for a checkpoint after the step in hand, so that there is something to look at.

        Raises:
            StorageError: the folder cannot be written.
        """
        atomic_write(self._checkpoint_request, b"")

    def take_checkpoint_request(self) -> bool:
        """Tell whether a checkpoint was asked for, and take the wish away."""
        try:
            self._checkpoint_request.unlink()
        except OSError:
            return False
        return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this object, which may take it again; the lock ends with the process at the latest.

        Raises:
            LockedError: another process, or another object of this one, holds it.
            StorageError: the system refuses to make the lock.
        """
        with self._lock.held():
            yield


def run_path(root: Path, prompt: str, seed: int) -> Path:
    """Return the folder that a run of a prompt and a seed has.

    Raises:
        UsageError: the root is no folder.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"--out is {str(root)!r}, which is a file; name a folder for the runs")
    return root / directory_name(prompt, seed)


def new_run_directory(root: Path, prompt: str, seed: int) -> RunDirectory:
    """Return the directory a new run gets, without making it.

    Raises:
        UsageError: the root is no folder, or there is a run of this prompt and seed in it already.
    """
    directory = RunDirectory(run_path(root, prompt, seed))
    directory.refuse_taken()
    return directory


def directory_name(prompt: str, seed: int) -> str:
    """Return a folder name of [a-z0-9-] for a prompt and a seed; prompts that would look alike get a hash."""
    plain = unicodedata.normalize("NFKD", prompt.lower()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    short = slug[:_SLUG_LENGTH].strip("-")
    if short != slug or re.sub(r"[a-z0-9 ]", "", prompt.lower()):
        short = f"{short}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}".strip("-")
    return f"{short}-{seed}"


def _is_odd(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the metrics' lines; one torn by a crash, or that is none of ours, is passed over."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            if isinstance(values["attempt"], int) and isinstance(values["index"], int):
                yield values
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
