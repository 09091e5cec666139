"""The journal of a run: its record, metrics and list of files, read from its folder without torch.

A page shows the same after a reload, and the folder may be shared by another machine that makes the run.
"""

import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from dreamfields.config import Config
from dreamfields.errors import StorageError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.record import read_record

POINTS: Final = 400  # The most points a curve has
_BLOCK: Final = 1 << 20

SERVED_SUFFIXES: Final = frozenset(
    {".glb", ".gltf", ".obj", ".mtl", ".ply", ".stl", ".3mf", ".usdz", ".npz", ".html"}
    | {".png", ".jpg", ".webp", ".gif", ".mp4", ".webm"}
)
"""Endings of a run's exported files; nothing else in its folder is served."""


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


@final
class Journal:
    """The record and the metrics of one run, kept up to date by `refresh`."""

    def __init__(self, directory: RunDirectory) -> None:
        """Read a run's journal.

        Raises:
            UsageError: there is no run in the folder.
            StorageError: its record cannot be read.
        """
        self.directory = directory
        self.record = read_record(directory)
        self.progress = Progress()
        self._inode, self._offset = 0, 0
        self.refresh()

    @property
    def config(self) -> Config:
        """Return the run's configuration."""
        return self.record.config

    @property
    def status(self) -> str:
        """Return `started`, `running`, `interrupted`, `optimized` or `finished`."""
        return self.record.status

    @property
    def idle_seconds(self) -> float:
        """Return the seconds since the last step was logged; 0 if none was."""
        try:
            return max(0.0, time.time() - self.directory.metrics.stat().st_mtime)
        except OSError:
            return 0.0

    def refresh(self) -> None:
        """Read what has been added; what cannot be read at the moment stays unchanged."""
        try:
            self.record = read_record(self.directory)
            while self._read_block():
                pass
        except (UsageError, StorageError, OSError):
            return

    def files(self) -> dict[str, Path]:
        """Return the files exported so far, by name, in order: regular ones with known endings."""
        try:
            paths = sorted(self.directory.path.iterdir())
        except OSError:
            return {}
        return {
            path.name: path
            for path in paths
            if path.suffix in SERVED_SUFFIXES and path.name[0] != "." and path.is_file() and not path.is_symlink()
        }

    def _read_block(self) -> bool:
        """Read the next lines of the metrics, and return whether there may be more."""
        path = self.directory.metrics
        if not path.is_file():
            return False
        with path.open("rb") as file:
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
            _add(self.progress, line)
        return len(whole) > 0 and len(block) == _BLOCK


def _add(progress: Progress, line: bytes) -> None:
    """Add one line of the metrics, unless a crash left it incomplete."""
    try:
        values = json.loads(line)
        score = float(values["score"])
        if not math.isfinite(score):
            return
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    progress.curve.add(score)
    progress.steps += 1
    progress.last = values
    if values.get("collapsed") is not None:
        progress.restarts.append(progress.steps)
