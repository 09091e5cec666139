"""run.json while a process works on its run: what changes in it, and when that is written."""

import importlib.metadata
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from dreamfields import __version__
from dreamfields.devices import thread_count
from dreamfields.errors import LockedError, StorageError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.record import RunRecord, Status, read_record


@final
class RecordFile:
    """The record of one run as this process knows it; what is not written yet is written with the next status.

    Attributes:
        record: what run.json says, with what is known since.
    """

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        """Tie a record to the folder that it was read from, or that it is about to be written to."""
        self.directory = directory
        self.record = record
        self._session_notes: tuple[str, ...] = ()

    def read_again(self) -> None:
        """Take over what other processes have written since the record was read; to be called under the lock.

        Raises StorageError: run.json cannot be understood any more.
        """
        if self.directory.exists():
            there = read_record(self.directory)
            notes = dict.fromkeys((*there.notes, *self._session_notes))
            self.record = replace(there, config=self.record.config, notes=tuple(notes))

    def notify(self, sentence: str) -> None:
        """Add a sentence to the notes, unless this process has added one that differs in its numbers alone."""
        if all(_without_numbers(sentence) != _without_numbers(one) for one in self._session_notes):
            self._session_notes = (*self._session_notes, sentence)
            self.record = replace(self.record, notes=(*self.record.notes, sentence))

    def begin_session(self, guidance: tuple[str, ...], weights: tuple[str, ...]) -> None:
        """Take in who guides from now on; notes of earlier processes, such as of a full disk, are dropped."""
        self.record = replace(self.record, guidance=guidance, weights=weights, notes=self._session_notes)

    def write(self, status: Status) -> None:
        """Write the record with a status and with the versions and threads of this process."""
        versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
        versions = {"dreamfields": __version__, **versions}
        threads = thread_count(self.record.config.threads)
        self.record = replace(self.record, status=status, versions=versions, cpu_threads=threads)
        self.directory.write_record(self.record.to_json())

    def describe(self, path: Path, note: str, summary: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Keep a note on a file, and the summary of a mesh; in run.json only if the file is in the run's folder.

        Nothing else in run.json is changed, and where it cannot be written the file is worth more than its note.
        """
        if path.parent.resolve() != self.directory.path.resolve():
            self.record = self.record.with_file(path.name, note)
            return
        mesh = summary() if summary else None
        self.record = self.record.with_file(path.name, note, mesh)
        with suppress(LockedError, StorageError, UsageError), self.directory.locked():
            there = read_record(self.directory)
            if (changed := there.with_file(path.name, note, mesh)) != there:
                self.directory.write_record(changed.to_json())


def _without_numbers(sentence: str) -> str:
    return re.sub(r"\d+", "", sentence)
