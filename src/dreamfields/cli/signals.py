"""Signals: a first Ctrl-C, SIGTERM or SIGHUP asks for a stop at the next whole step; a second one stops at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self, final

_NUMBERS: Final = tuple(int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@final
class StopRequest:
    """Notes the first signal while it is entered; handlers are put back on the way out.

    A handler of Python's runs between two of its instructions only, so a long call of a library would hold a second
    signal up. A thread that reads the numbers of signals as the kernel delivers them sees to it that the second one
    ends the process within a moment. Files are whole at any moment, so only work since the last checkpoint is lost.

    Attributes:
        number: the first signal, or None.
        at_once: whether the first one already raises KeyboardInterrupt: while there is nothing to be finished first.
    """

    def __init__(self) -> None:
        """Nothing has been asked yet."""
        self.number: int | None = None
        self.immediate = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Start noting."""
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        threading.Thread(target=_end_at_the_second, args=(reading,), daemon=True).start()
        self._wakeup_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in _NUMBERS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._writing)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            if self.immediate:
                raise KeyboardInterrupt


def _end_at_the_second(reading: int) -> None:
    """Read the numbers of signals until the other end is closed; at the second of ours, end the process."""
    seen = 0
    while got := os.read(reading, 1):
        seen += got[0] in _NUMBERS
        if seen == 2:
            os._exit(128 + got[0])
    os.close(reading)
