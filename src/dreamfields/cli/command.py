"""What every command is: a frozen dataclass whose fields are its arguments, with what it checks and what it does."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import tyro
from rich.console import Console

from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.record import read_record
from dreamfields.settings import Settings


@dataclass(frozen=True)
class Command(Settings, ABC):
    """One command: its fields are its arguments, the strings below them its help, their `Range`s are checked.

    Modules of commands import nothing heavy when they load; only `run` does. In the order in which they are called:
    """

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self | None:
        """Return the values of arguments that are not given; None for those of the class.

        Raises:
            DreamfieldsError: what the arguments name as their source, such as a preset, cannot be used.
        """
        return None

    def check_values(self) -> None:
        """Refuse values that cannot be used, in one sentence with all that is wrong on the command line.

        Raises:
            UsageError: there is such a value.
        """

    def check(self) -> None:
        """Refuse what this machine cannot do, without importing torch.

        Raises:
            DreamfieldsError: one sentence about what is missing.
        """

    @abstractmethod
    def run(self, console: Console) -> int:
        """Carry the command out and return the exit code.

        Raises:
            DreamfieldsError: it cannot be carried out.
        """


@dataclass(frozen=True)
class RunCommand(Command):
    """A command on one run."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""

    def check(self) -> None:
        """Make sure that there is a run, and that its record can be understood."""
        read_record(RunDirectory(self.folder))
