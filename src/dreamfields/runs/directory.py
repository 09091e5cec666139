"""The run directory: one folder that holds all of a run, and a lock so that one process at a time works in it.

::

    runs/a-teapot-0/
        run.json            prompt, every setting, versions, status, times; see `dreamfields.runs.record`
        metrics.jsonl       one line a step
        checkpoints/        the two newest states
        contact_sheet.png, turntable.mp4, object.glb, ...: what it made
"""

import enum
import hashlib
import json
import math
import re
import shlex
import unicodedata
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from dreamfields.errors import StorageError, UsageError
from dreamfields.runs.lock import FolderLock
from dreamfields.runs.metrics import read_metrics
from dreamfields.storage import append_line, atomic_write, read_regular, sweep

if TYPE_CHECKING:
    # For types only: a command must be able to refuse a folder before torch is loaded.
    from dreamfields.optimize.loop import Step

RECORD: Final = "run.json"
_SLUG_LENGTH: Final = 40
_LARGEST_RECORD: Final = 4_000_000
_LINES_KEPT: Final = 10_000  # Lines of metrics that wait while the disk is full


@final
class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        """Name a run directory; nothing is read or written yet."""
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.previews = path / "previews"  # Pictures of the time-lapse
        self.metrics = path / "metrics.jsonl"
        self._checkpoint_request = path / ".checkpoint-wanted"
        self._lock = FolderLock(path)
        self._unwritten: list[str] = []

    @property
    def resume_command(self) -> str:
        """Return the command that goes on with the run here, ready to be pasted into a shell."""
        path = str(self.path)
        return shlex.join(["dreamfields", "resume", f"./{path}" if path.startswith("-") else path])

    def exists(self) -> bool:
        """Tell whether a run has been started here."""
        return (self.path / RECORD).is_file()

    def refuse_taken(self) -> None:
        """Make sure that no run has been started here. Raises UsageError: there is one."""
        if self.exists():
            raise UsageError(
                f"{self.path} already holds a run of this prompt and seed; choose another --seed or --out, or continue "
                f"it with: {self.resume_command}"
            )

    def read_record(self) -> dict[str, Any]:
        """Return run.json as JSON values that nobody has checked yet; see `record.read_record`.

        Raises:
            UsageError: there is no run here.
            StorageError: run.json is no JSON object.
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

    def write_record(self, values: Mapping[str, Any]) -> None:
        """Replace run.json."""
        atomic_write(self.path / RECORD, json.dumps(values, indent=2, ensure_ascii=False).encode())

    def log(self, step: "Step") -> None:
        """Add a step to the metrics; the time it took is left to run.json, so that equal runs have equal metrics.

        Raises StorageError: the line cannot be written; it is kept, and written before the next one.
        """
        values = {name: _plain(value) for name, value in vars(step).items() if name != "seconds"}
        self._unwritten = [*self._unwritten, json.dumps(values)][-_LINES_KEPT:]
        append_line(self.metrics, "\n".join(self._unwritten))
        self._unwritten = []

    def trim_metrics(self, attempt: int, step: int) -> None:
        """Drop what was logged after a checkpoint, so that resuming logs each step once."""
        self._unwritten = []
        if not self.metrics.exists():
            return
        lines = read_metrics(self.metrics)
        kept = [line for line in lines if (line["attempt"], line["index"]) <= (attempt, step)]
        atomic_write(self.metrics, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def sweep(self) -> None:
        """Delete the temporary files of killed writers; to be called under the lock."""
        for folder in (self.path, self.checkpoints, self.previews):
            sweep(folder)

    def request_checkpoint(self) -> None:
        """Ask the process that optimises here for a checkpoint after its present step, for a viewer to show.

        Raises StorageError: the folder cannot be written.
        """
        atomic_write(self._checkpoint_request, b"")

    def take_checkpoint_request(self) -> bool:
        """Tell whether a checkpoint was requested, and delete the request."""
        try:
            self._checkpoint_request.unlink()
        except OSError:
            return False
        return True

    def locked(self) -> AbstractContextManager[None]:
        """Hold the directory for this object, which may take it again; see `FolderLock.held` for what it raises."""
        return self._lock.held()


def run_path(root: Path, prompt: str, seed: int) -> Path:
    """Return the folder that a run of a prompt and a seed has. Raises UsageError: the root is no folder."""
    if root.exists() and not root.is_dir():
        raise UsageError(f"--out is {str(root)!r}, which is a file; name a folder for the runs")
    return root / directory_name(prompt, seed)


def directory_name(prompt: str, seed: int) -> str:
    """Return a folder name of [a-z0-9-] for a prompt and a seed; prompts that would look alike get a hash."""
    plain = unicodedata.normalize("NFKD", prompt.lower()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    short = slug[:_SLUG_LENGTH].strip("-")
    if short != slug or re.search(r"[^a-z0-9 ]", prompt):  # Capitals, too: some file systems take them for small ones.
        short = f"{short}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}".strip("-")
    return f"{short}-{seed}"


def _plain(value: object) -> object:
    """Return a metric as JSON knows it, which has neither enumerations nor NaN and infinity."""
    if isinstance(value, enum.Enum):
        return value.name.lower()
    return None if isinstance(value, float) and not math.isfinite(value) else value
