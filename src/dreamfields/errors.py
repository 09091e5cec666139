"""Every error a user can meet, each one sentence that says what was given, what is allowed and what to do.

::

    DreamfieldsError            exit 1   base of all below; never raised itself
    ├── UsageError              exit 2   a prompt, a setting or a path that cannot be used as given
    ├── MissingPackageError     exit 3   weights or a program that must be installed first
    ├── StorageError            exit 4   a file that cannot be read or written
    │   └── CheckpointError     exit 4   a checkpoint that is missing, damaged or of another run
    ├── LockedError             exit 5   a run directory or a port that another process is using
    └── DegenerateError         exit 6   an optimisation whose result is empty, full or not finite

The command line prints the sentence and ends with the exit code; Python callers catch the class.
"""

from typing import ClassVar


class DreamfieldsError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(DreamfieldsError):
    """A prompt, a setting or a path that cannot be used as given."""

    exit_code: ClassVar[int] = 2


class MissingPackageError(DreamfieldsError):
    """Weights or a program that must be installed first; the sentence names the command."""

    exit_code: ClassVar[int] = 3


class StorageError(DreamfieldsError):
    """A file that cannot be read or written; the sentence names the path."""

    exit_code: ClassVar[int] = 4


class CheckpointError(StorageError):
    """A checkpoint that is missing, damaged or of another run."""


class LockedError(DreamfieldsError):
    """A run directory or a port that another process is using."""

    exit_code: ClassVar[int] = 5


class DegenerateError(DreamfieldsError):
    """An optimisation whose result is empty, full or not finite."""

    exit_code: ClassVar[int] = 6
