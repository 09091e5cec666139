"""Signals: a first Ctrl-C, SIGTERM or SIGHUP asks for a stop at the next whole step; a second one stops at once."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self, final


@final
class StopRequest:
    """Notes the first signal while it is entered; handlers are put back on the way out."""

    def __init__(self) -> None:
        """Nothing has been asked yet."""
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Start noting."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                number = getattr(signal, name)
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
