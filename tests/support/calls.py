"""The system as `storage` sees it, with every call counted, recorded, and made to fail when a test wants it to."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Fault = Literal["crash before", "crash after", "short"] | int
"""What happens at a call: the process ends before or after it, fewer bytes are written, or an errno is returned."""
WATCHED = ("open", "write", "fsync", "close", "replace", "unlink", "ftruncate", "fstat")


class Crashed(BaseException):
    """The process has ended here; from now on nothing of it reaches the disk."""


@dataclass(frozen=True)
class Call:
    """One call of the system, with the path it is about."""

    name: str
    path: Path
    other: Path | None = None
    content: bytes = b""


class System:
    """Stands in the place of the module `os` in `storage`: all else is the real thing."""

    def __init__(self, fault: Fault | None = None, at: int = -1) -> None:
        """Let the call with this number, counted from 0, meet a fault."""
        self.fault, self.at = fault, at
        self.calls: list[Call] = []
        self.paths: dict[int, Path] = {}
        self.ended = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._watched(name, real) if name in WATCHED else real

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if self.ended:
                raise Crashed
            number = len(self.calls)
            self.calls.append(self._describe(name, given))
            hit = number == self.at
            if hit and isinstance(self.fault, int):
                if name == "close":
                    real(*given, **named)  # The kernel frees the descriptor even when it reports a failure.
                raise OSError(self.fault, os.strerror(self.fault))
            if hit and self.fault == "crash before":
                self.ended = True
                raise Crashed
            if hit and self.fault == "short" and name == "write":
                given = (given[0], memoryview(given[1])[: max(1, len(given[1]) // 3)])
            try:
                result = real(*given, **named)
            finally:
                if hit and self.fault == "crash after":
                    self.ended = True
                    raise Crashed
            if name == "open":
                self.paths[result] = Path(given[0])
            return result

        return call

    def _describe(self, name: str, given: tuple[Any, ...]) -> Call:
        if name in ("open", "unlink"):
            return Call(name, Path(given[0]))
        if name == "replace":
            return Call(name, Path(given[0]), Path(given[1]))
        content = bytes(given[1]) if name == "write" else b""
        return Call(name, self.paths.get(given[0], Path("?")), content=content)


ERRNOS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EROFS)
