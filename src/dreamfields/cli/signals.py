"""Signals: a first Ctrl-C, SIGTERM or SIGHUP asks for a stop at the next whole step; a second one stops at once.

A signal that the process was started to ignore, as `nohup` and a shell's background jobs are, stays ignored.
"""

import os
import signal
import threading
from types import FrameType
from typing import Any, Final, Self, final

_NUMBERS: Final = tuple(int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@final
class StopRequest:
    """Records the first signal in `number` while it is entered; if `immediate` is set, it raises KeyboardInterrupt.

    Python runs a handler between two of its instructions only, so a long call of a library would delay the second
    signal. A thread therefore reads the numbers of signals as the kernel delivers them, and ends the process at the
    second one. Files are whole at any moment, so only work since the last checkpoint is lost.
    """

    def __init__(self) -> None:
        """Start without a signal."""
        self.number: int | None = None
        self.immediate = False  # Whether no step has to be completed first
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers of all signals that are not ignored."""
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        threading.Thread(target=_exit_at_second, args=(reading,), daemon=True).start()
        self._wakeup_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in _NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._writing)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            if self.immediate:
                raise KeyboardInterrupt


def _exit_at_second(reading: int) -> None:
    """Read numbers of signals until the pipe is closed; at the second one of ours, end the process."""
    count = 0
    while got := os.read(reading, 1):
        count += got[0] in _NUMBERS
        if count == 2:
            os._exit(128 + got[0])
    os.close(reading)
