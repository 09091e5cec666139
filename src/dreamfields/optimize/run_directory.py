"""The run directory: one folder that holds all of a run, and a lock so that one process at a time works in it.

::

    runs/a-teapot-0/
        run.json            prompt, every setting, versions, status, times: what the run is
        metrics.jsonl       one line a step
        checkpoints/        the two newest states
        contact_sheet.png, turntable.mp4, object.glb, ...: what it made
"""

import dataclasses
import fcntl
import hashlib
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from dreamfields.errors import LockedError, StorageError, UsageError
from dreamfields.storage import append_line, atomic_write

if TYPE_CHECKING:
    # For types only: a command must be able to refuse a folder before torch is loaded.
    from dreamfields.optimize.loop import Step

RECORD = "run.json"
_SLUG_LENGTH = 40


@final
class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        """Name a run directory; nothing is read or written yet."""
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """Return the file with one line a step."""
        return self.path / "metrics.jsonl"

    def exists(self) -> bool:
        """Tell whether a run has been started here."""
        return (self.path / RECORD).is_file()

    def read_record(self) -> dict[str, Any]:
        """Return what run.json says.

        Raises:
            UsageError: there is no run here.
            StorageError: run.json cannot be understood.
        """
        if not self.exists():
            raise UsageError(f"{self.path} holds no run (no {RECORD}); name a folder such as runs/a-teapot-0")
        try:
            record = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise StorageError(f"{self.path / RECORD} cannot be read: {error}") from error
        if not isinstance(record, dict):
            raise StorageError(f"{self.path / RECORD} is not a run's record")
        return record

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace run.json."""
        atomic_write(self.path / RECORD, json.dumps(record, indent=2, ensure_ascii=False).encode())

    def log(self, step: "Step") -> None:
        """Add a step to the metrics; the time it took is left to run.json, so equal runs have equal metrics."""
        values = dataclasses.asdict(dataclasses.replace(step, collapsed=None))
        del values["seconds"]
        # A step that was left out has no number to show, and JSON no sign for that but null.
        values = {name: value if math.isfinite(value or 0) else None for name, value in values.items()}
        values["collapsed"] = step.collapsed.name.lower() if step.collapsed is not None else None
        append_line(self.metrics, json.dumps(values))

    def trim_metrics(self, attempt: int, step: int) -> None:
        """Drop what was logged after a checkpoint, so that resuming logs each step once."""
        if not self.metrics.exists():
            return
        kept = [line for line in _lines(self.metrics) if (line["attempt"], line["index"]) <= (attempt, step)]
        atomic_write(self.metrics, "".join(json.dumps(line) + "\n" for line in kept).encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; the lock ends with the process, however that ends.

        Raises:
            LockedError: another process holds it.
            StorageError: the system refuses to make the lock.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"cannot work in {self.path}: {reason}; choose another place") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise LockedError(f"{self.path} is in use by process {holder}; wait for it or stop it") from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)


def new_run_directory(root: Path, prompt: str, seed: int) -> RunDirectory:
    """Return the directory a new run gets, without making it.

    Raises:
        UsageError: the root is no folder, or there is a run of this prompt and seed in it already.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"--out is {str(root)!r}, which is a file; name a folder for the runs")
    directory = RunDirectory(root / directory_name(prompt, seed))
    if directory.exists():
        raise UsageError(
            f"{directory.path} already holds a run of this prompt and seed; continue it with: "
            f"dreamfields resume {directory.path}, or choose another --seed or --out"
        )
    return directory


def directory_name(prompt: str, seed: int) -> str:
    """Return a folder name of [a-z0-9-] for a prompt and a seed; prompts that would look alike get a hash."""
    plain = unicodedata.normalize("NFKD", prompt.lower()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    short = slug[:_SLUG_LENGTH].strip("-")
    if short != slug or re.sub(r"[a-z0-9 ]", "", prompt.lower()):
        short = f"{short}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}".strip("-")
    return f"{short}-{seed}"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the metrics' lines; a last line torn by a crash ends them."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return
