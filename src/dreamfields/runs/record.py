"""What run.json says of a run, as one typed value, read back without loading anything heavy."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Final, Literal, Self, get_type_hints

from dreamfields.config import Config
from dreamfields.errors import StorageError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.upgrade import complete_config, lost_sentence, upgrade_config
from dreamfields.settings import Range, fault_in, value_from_json

FORMAT: Final = 1  # Format of run.json

Status = Literal["started", "running", "interrupted", "optimized", "finished"]


@dataclass(frozen=True)
class RunRecord:
    """What run.json says; a text, a number or a table that is not known yet is empty and is not written."""

    status: Status
    config: Config
    versions: Mapping[str, str] = field(default_factory=dict)  # Of dreamfields, torch and numpy
    cpu_threads: Annotated[int, Range(0)] = 0
    guidance: tuple[str, ...] = ()  # Names of the models that guide
    weights: tuple[str, ...] = ()  # A digest of the files of each of them; empty where the package pins them
    start: Mapping[str, Any] = field(default_factory=dict)  # What the field began as; see `starts.begin`
    notes: tuple[str, ...] = ()
    """What the user should know, one sentence each: of the prompt, damaged files, a full disk."""
    device: str = ""
    seconds: Annotated[float, Range(0.0)] = 0.0  # Time that the steps took so far
    attempts: Annotated[int, Range(0)] = 0
    mesh: Mapping[str, Any] = field(default_factory=dict)  # Of the newest GLB in the run's folder; see `Asset.summary`
    export_notes: Mapping[str, str] = field(default_factory=dict)
    """How a file differs from what was asked for, by the file's name."""
    lost: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the run was begun with and that this version has no more, by dotted name."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Entries that only another version understands; they are written back as they were."""

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Return the notes, after one for each lost setting."""
        return *(lost_sentence(name, value) for name, value in self.lost.items()), *self.notes

    @property
    def from_shape(self) -> bool:
        """Return whether the run's first attempt began as a shape."""
        return self.start.get("source") == "prior"

    def with_file(self, name: str, note: str, mesh: Mapping[str, Any] | None = None) -> Self:
        """Return the record with what it says of one file; an empty note takes an earlier one away."""
        others = {key: value for key, value in self.export_notes.items() if key != name}
        notes = {**others, name: note} if note else others
        return replace(self, export_notes=notes, mesh=self.mesh if mesh is None else mesh)

    def to_json(self) -> dict[str, Any]:
        """Return the content of run.json."""
        known = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "unknown"}
        written = {name: value for name, value in known.items() if value not in ("", 0, {})}
        return {"format": FORMAT, **written, "config": self.config.to_json(), **self.unknown}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what run.json of this version or of an older one says.

        Raises UsageError: an entry is missing or cannot be used.
        """
        if values.get("format") != FORMAT:
            raise UsageError(f"its format is {reprlib.repr(values.get('format'))}; this version reads format {FORMAT}")
        if not isinstance(values.get("config"), Mapping):
            raise UsageError("it holds no configuration")
        config, lost = upgrade_config(values["config"])
        entries = {"status": None, **values, "config": complete_config(config)}
        hints = get_type_hints(cls, include_extras=True)
        del hints["unknown"]
        known = {name: value_from_json(entries[name], hint) for name, hint in hints.items() if name in entries}
        faults = [fault for name, value in known.items() if (fault := fault_in(name, value, hints[name]))]
        if faults:
            raise UsageError("; ".join(faults))
        unknown = {name: value for name, value in values.items() if name not in hints and name != "format"}
        record = cls(**known, unknown=unknown)
        return replace(record, lost={**record.lost, **lost})


def read_record(directory: RunDirectory) -> RunRecord:
    """Return what a run's folder says of it.

    Raises:
        UsageError: there is no run in the folder.
        StorageError: its record cannot be understood.
    """
    values = directory.read_record()
    try:
        return RunRecord.from_json(values)
    except UsageError as error:
        raise StorageError(
            f"{directory.path} was made by another version, or its run.json was changed: {error}"
        ) from error
