"""What every command is: a frozen dataclass whose fields are its arguments, with what it checks and what it does."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import tyro
from rich.console import Console

from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.record import read_record
from dreamfields.settings import Settings
from dreamfields.storage import user_path


@dataclass(frozen=True)
class Command(Settings, ABC):
    """One command: its fields are its arguments, the strings below them its help, and their ranges are checked.

    Modules of commands load nothing heavy; only `run` does. Each method raises a `DreamfieldsError` if it cannot go on.
    """

    def __post_init__(self) -> None:
        """Check the fields, after each leading ~ of a path has been replaced, which not every shell does."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Path):
                object.__setattr__(self, entry.name, user_path(value))
            elif isinstance(value, tuple) and any(isinstance(one, Path) for one in value):
                object.__setattr__(self, entry.name, tuple(map(user_path, value)))
        super().__post_init__()

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self | None:
        """Return the values of arguments that are not given; None for those of the class."""
        return None

    def check_values(self) -> None:
        """Refuse values that cannot be used, in one sentence with all else that is wrong on the command line."""

    def check(self) -> None:
        """Refuse what this machine cannot do, without importing torch."""

    @abstractmethod
    def run(self, console: Console) -> int:
        """Carry the command out and return the exit code."""


@dataclass(frozen=True)
class RunCommand(Command):
    """A command on one run."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""

    @cached_property
    def directory(self) -> RunDirectory:
        """The run's directory."""
        return RunDirectory(self.folder)

    def check(self) -> None:
        """Make sure that there is a run whose record can be understood."""
        read_record(self.directory)


def values_for(kind: type[Settings], source: Settings) -> dict[str, Any]:
    """Return the values that a source has under the names of a dataclass's fields."""
    return {entry.name: getattr(source, entry.name) for entry in fields(kind)}
