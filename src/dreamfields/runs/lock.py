"""A lock on a folder: one process at a time works in it, and a killed one holds nothing.

The lock is the kernel's (`flock`), held by an open descriptor, so none is ever stale. The text in its file only tells
people who holds it: `filelock` has no such text for kernel locks, so using it would save no line here.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from dreamfields.errors import LockedError, MissingPackageError
from dreamfields.storage import refusals

try:
    import fcntl
except ImportError:  # Windows
    HAS_LOCKS = False
else:
    HAS_LOCKS = True

NAME: Final = ".lock"
_HOLDER_TIMEOUT_S: Final = 0.3  # Seconds that a new holder may take to write who it is
_LONGEST: Final = 500


def check_platform() -> None:
    """Make sure that this system has the locks and the file system calls that runs rely on.

    Raises MissingPackageError: it has not, as Windows has not.
    """
    if not HAS_LOCKS:
        raise MissingPackageError(
            "this system lacks the file locks of Linux and macOS, which runs need; on Windows, use WSL"
        )


@final
class FolderLock:
    """The lock of one folder; its holder may take it again."""

    def __init__(self, folder: Path) -> None:
        """Name a folder; nothing is locked yet."""
        self.folder = folder
        self._depth = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this object, and make it if need be; the lock ends with the process at the latest.

        Raises:
            LockedError: another process, or another object of this one, holds it; the sentence names the holder.
            MissingPackageError: this system has no such locks.
            StorageError: the system refuses to make the lock.
        """
        if self._depth == 0:
            check_platform()
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
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()} since {now}".encode(), 0)
            except OSError as error:
                holder = _holder(descriptor) if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
                os.close(descriptor)
                if holder is not None:
                    sentence = f"{self.folder} is in use by process {holder}; wait for it or stop it"
                    raise LockedError(sentence) from error
                raise
        return descriptor


def _holder(descriptor: int) -> str:
    """Return the holder that the lock's file names; one that has just come may not have written it yet."""
    until = time.monotonic() + _HOLDER_TIMEOUT_S
    while True:
        text = os.pread(descriptor, _LONGEST, 0).decode(errors="replace")
        if _may_live(text) or time.monotonic() > until:
            return text or "unknown"
        time.sleep(0.01)


def _may_live(text: str) -> bool:
    """Tell whether the text may name a running process; one on another machine may always run."""
    number, _, rest = text.partition(" on ")
    if not number.isdecimal() or not rest.startswith(f"{socket.gethostname()} since"):
        return number.isdecimal() and bool(rest)
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # It runs, as another user.
    return True
