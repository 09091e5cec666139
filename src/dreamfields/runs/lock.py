"""A lock on a folder: one process at a time works in it, and a killed one holds nothing.

The lock is the kernel's (`flock`), held by an open descriptor, so there is no stale lock to clear away. What the file
says of its holder is for people only.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from dreamfields.errors import LockedError
from dreamfields.storage import refusals

NAME: Final = ".lock"
_HOLDER_TIMEOUT_S: Final = 0.3
"""Seconds that a new holder may take to write who it is."""
_LONGEST: Final = 500


@final
class FolderLock:
    """The lock of one folder; who holds it may take it again."""

    def __init__(self, folder: Path) -> None:
        """Name a folder; nothing is locked yet."""
        self.folder = folder
        self._depth = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder, which is made if need be, for this object; the lock ends with the process at the latest.

        Raises:
            LockedError: another process, or another object of this one, holds it; the sentence names the holder.
            StorageError: the system refuses to make the lock.
        """
        if self._depth == 0:
            self._descriptor = self._take()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                os.close(self._descriptor)

    def _take(self) -> int:
        with refusals(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _myself().encode(), 0)
            except OSError as error:
                holder = _holder(descriptor) if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
                os.close(descriptor)
                if holder is not None:
                    sentence = f"{self.folder} is in use by process {holder}; wait for it or stop it"
                    raise LockedError(sentence) from error
                raise
        return descriptor


def _myself() -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"{os.getpid()} on {socket.gethostname()} since {now}"


def _holder(descriptor: int) -> str:
    """Return what the lock's file says; a holder that has just come may not have written it yet."""
    until = time.monotonic() + _HOLDER_TIMEOUT_S
    while True:
        said = os.pread(descriptor, _LONGEST, 0).decode(errors="replace")
        if _may_live(said) or time.monotonic() > until:
            return said or "unknown"
        time.sleep(0.01)


def _may_live(said: str) -> bool:
    """Tell whether what the file says can be of a process that is there; one on another machine may always be."""
    number, _, rest = said.partition(" on ")
    if not number.isdecimal():
        return False
    if not rest.startswith(f"{socket.gethostname()} since"):
        return bool(rest)
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
