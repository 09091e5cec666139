"""The state of a run for its page: its record, metrics, files and newest preview, read from its folder.

All of it is on disk, so a page shows the same after a reload, and another machine may make the run. Loads no torch.
"""

import asyncio
import json
import math
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from dreamfields import __version__
from dreamfields.errors import DreamfieldsError, StorageError, UsageError
from dreamfields.export.formats.table import FORMATS
from dreamfields.export.pictures.table import PICTURES, VIDEOS
from dreamfields.guidance.ensemble import label
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.record import read_record

if TYPE_CHECKING:
    from dreamfields.studio.preview import Preview

POINTS: Final = 400  # The most points a curve has
SERVED_SUFFIXES: Final = frozenset(
    {*FORMATS, *PICTURES, *VIDEOS, *(ending for known in FORMATS.values() for ending in known.companions)}
)
"""Endings of a run's exported files, in small letters; nothing else in its folder is served."""
_BLOCK: Final = 1 << 20  # Bytes of the metrics read at a time
_POLL_S: Final = 0.5
_REQUEST_S: Final = 3.0  # Least seconds between two requests for a checkpoint
_REST: Final = 6.0  # Seconds of rest after each second of processor time for a preview


@dataclass
class Curve:
    """A series of numbers in at most `POINTS` points, each the mean of equally many values."""

    points: list[float] = field(default_factory=list)  # Means of `width` values each
    width: int = 1  # Values per point: a power of two that grows with the series
    _sum: float = 0.0
    _count: int = 0

    def add(self, value: float) -> None:
        """Add one finite value."""
        self._sum, self._count = self._sum + value, self._count + 1
        if self._count < self.width:
            return
        self.points.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self.points) >= POINTS:
            self.points = [0.5 * (a + b) for a, b in zip(self.points[::2], self.points[1::2], strict=True)]
            self.width *= 2


@dataclass
class Progress:
    """The metrics so far."""

    curve: Curve = field(default_factory=Curve)  # Of the score
    steps: int = 0  # Steps done in all attempts
    restarts: list[int] = field(default_factory=list)  # The number of steps at which each attempt was given up
    last: dict[str, Any] = field(default_factory=dict)  # The line of the newest step

    def add(self, line: bytes) -> None:
        """Add one line of the metrics, unless a crash left it incomplete."""
        try:
            values = json.loads(line)
            score = float(values["score"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if math.isfinite(score):
            self.curve.add(score)
            self.steps, self.last = self.steps + 1, values
            if values.get("collapsed") is not None:
                self.restarts.append(self.steps)


@final
class Journal:
    """The record and the metrics of one run, kept up to date by `refresh`."""

    def __init__(self, directory: RunDirectory) -> None:
        """Read a run's files. Raises UsageError: there is no run in the folder; StorageError: a damaged record."""
        self.directory = directory
        self.record = read_record(directory)
        self.progress = Progress()
        self._inode, self._offset = 0, 0
        self.refresh()

    @property
    def idle_seconds(self) -> float:
        """Return the seconds since the last step was logged; 0 if none was."""
        try:
            return max(0.0, time.time() - self.directory.metrics.stat().st_mtime)
        except OSError:
            return 0.0

    def refresh(self) -> None:
        """Read what has been added; what cannot be read at the moment stays unchanged."""
        with suppress(UsageError, StorageError, OSError):
            self.record = read_record(self.directory)
            while self._read_block():
                pass

    def files(self) -> dict[str, Path]:
        """Return the files exported so far, by name, in order: regular ones with known endings."""
        try:
            paths = sorted(self.directory.path.iterdir())
        except OSError:
            return {}
        named = [path for path in paths if path.suffix.lower() in SERVED_SUFFIXES and path.name[0] != "."]
        return {path.name: path for path in named if path.is_file() and not path.is_symlink()}

    def _read_block(self) -> bool:
        """Read the next lines of the metrics, and return whether there may be more."""
        if not self.directory.metrics.is_file():
            return False
        with self.directory.metrics.open("rb") as file:
            stat = os.fstat(file.fileno())
            # A resume may have replaced the file by its beginning.
            if stat.st_ino != self._inode or stat.st_size < self._offset:
                self.progress, self._inode, self._offset = Progress(), stat.st_ino, 0
            file.seek(self._offset)
            block = file.read(_BLOCK)
        # The rest of the last line is still being written.
        whole = block[: block.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self.progress.add(line)
        return len(whole) > 0 and len(block) == _BLOCK


@final
class Watcher:
    """A run's journal and newest preview; files are read only while `viewers`, the number of open pages, is above 0."""

    def __init__(self, journal: Journal) -> None:
        """Start with an empty preview; `watching` keeps it up to date."""
        self.journal = journal
        self.preview: Preview | None = None
        self.fault = ""  # Why there is no preview of the newest checkpoint
        self.viewers = 0
        self.version = 0  # Grows with every change
        self._last: tuple[object, ...] = ()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch in the background while this is entered."""
        tasks = [asyncio.create_task(self._follow_journal()), asyncio.create_task(self._follow_checkpoints())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def identity(self) -> dict[str, Any]:
        """Return as JSON values what never changes in a run."""
        config, recipe = self.journal.record.config, self.journal.record.config.recipe
        facts = {
            "seed": config.seed,
            "guidance": label(recipe.guidance.name),
            "field": recipe.field,
            "steps": recipe.optimize.steps,
            "generator": f"dreamfields {__version__}",
        }
        return {"prompt": config.prompt, "facts": facts, "settings": config.to_json()}

    def state(self) -> dict[str, Any]:
        """Return as JSON values the progress of a run, and the addresses of its image, mesh and files."""
        record, progress, preview = self.journal.record, self.journal.progress, self.preview
        files = list(self.journal.files())
        mesh = f"/object.glb?v={preview.name}" if preview and preview.mesh else ""
        return {
            "status": record.status,
            "total": record.config.recipe.optimize.steps,
            "step": progress.last.get("index", 0),
            "steps": progress.steps,
            "attempt": progress.last.get("attempt", 0) + 1,
            "score": progress.last.get("score"),
            "opacity": progress.last.get("opacity"),
            "seconds": record.seconds or None,
            "idle_seconds": round(self.journal.idle_seconds, 1),
            "device": record.device or None,
            "notes": list(record.all_notes),
            "curve": [round(point, 4) for point in progress.curve.points],
            "width": progress.curve.width,
            "restarts": progress.restarts,
            "image": f"/image.png?v={preview.name}" if preview else "",
            "image_step": preview.step if preview else 0,
            "mesh": "/files/object.glb" if record.status == "finished" and "object.glb" in files else mesh,
            "fault": self.fault,
            "files": files,
        }

    async def _follow_journal(self) -> None:
        while True:
            if self.viewers:
                await asyncio.to_thread(self.journal.refresh)
                files = await asyncio.to_thread(self.journal.files)
                now = (self.journal.record, self.journal.progress.steps, list(files), self.preview, self.fault)
                if now != self._last:
                    self._last, self.version = now, self.version + 1
            await asyncio.sleep(_POLL_S)

    async def _follow_checkpoints(self) -> None:
        next_preview, next_request = 0.0, 0.0
        while True:
            now = time.monotonic()
            if self.viewers and now >= next_preview:
                rest = _REST * await asyncio.to_thread(self.refresh_preview)
                next_preview = now + rest
                if self.journal.record.status == "running" and now >= next_request:
                    await asyncio.to_thread(self.request_checkpoint)
                    next_request = now + max(_REQUEST_S, rest)
            await asyncio.sleep(_POLL_S)

    def refresh_preview(self) -> float:
        """Make the preview of the newest checkpoint unless it is there; `fault` holds the error, if any.

        Return the processor seconds that this took; 0 for the first preview, which compiles the renderer.
        """
        was_first, began = self.preview is None, time.thread_time()
        try:
            from dreamfields.studio import preview  # Loads torch, so not before the page is served

            name = preview.newest_checkpoint(self.journal.directory)
            if name and (self.preview is None or name != self.preview.name):
                self.preview = preview.make_preview(self.journal.directory, self.journal.record.config, name)
                self.fault = ""
        # Any exception is reported here, since it would end the background task unseen.
        except Exception as error:
            expected = isinstance(error, (DreamfieldsError, OSError))
            self.fault = str(error) if expected else f"the preview failed: {type(error).__name__}: {error}"
            was_first = False
        return 0.0 if was_first else time.thread_time() - began

    def request_checkpoint(self) -> None:
        """Request a checkpoint from the optimiser; in a read-only folder previews follow the regular checkpoints."""
        with suppress(StorageError):
            self.journal.directory.request_checkpoint()
