"""What run.json holds, read back without loading anything heavy."""

from dataclasses import dataclass
from typing import Any, Final

from dreamfields.config import Config
from dreamfields.errors import StorageError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.upgrade import upgrade_config

FORMAT: Final = 1
"""Format of run.json."""


@dataclass(frozen=True)
class Record:
    """A run's record and the configuration in it."""

    values: dict[str, Any]
    config: Config


def read_record(directory: RunDirectory) -> Record:
    """Return what a run's folder says of it.

    Raises:
        UsageError: there is no run in the folder.
        StorageError: its record cannot be understood.
    """
    values = directory.read_record()
    try:
        if values["format"] != FORMAT or not isinstance(values["status"], str):
            raise TypeError(f"format {values['format']}, status {values['status']}")
        if not isinstance(values.get("notes", []), list):
            raise TypeError(f"notes {values['notes']!r}")
        return Record(values, Config.from_json(upgrade_config(values["config"])))
    except (AttributeError, KeyError, TypeError, UsageError) as error:
        raise StorageError(
            f"{directory.path} was made by another version, or its run.json was changed: {error}"
        ) from error
