"""Signals: the first is noted, the second stops at once, and the handlers are put back."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from dreamfields.cli.signals import StopRequest

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS], threading.active_count()
    with StopRequest() as stop:
        assert stop.number is None
        os.kill(os.getpid(), number)
        assert stop.number == number
    assert [signal.getsignal(one) for one in SIGNALS] == before[0]
    until = time.monotonic() + 10.0
    while threading.active_count() > before[1] and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= before[1]  # One of an earlier test may have ended meanwhile.


@pytest.mark.parametrize("number", SIGNALS)
def test_with_nothing_to_finish_the_first_signal_interrupts(number: signal.Signals) -> None:
    with StopRequest() as stop:
        stop.immediate = True
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert stop.number == number


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGINT"), ("SIGHUP", "SIGTERM")])
def test_the_second_signal_ends_the_process_at_once_even_inside_a_long_call(first: str, second: str) -> None:
    # One call of C that takes minutes; handlers of Python's have to wait for its end.
    code = """
import hashlib
from dreamfields.cli.signals import StopRequest
with StopRequest():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, first))
        time.sleep(0.5)  # The kernel makes one of two equal signals that wait.
        began = time.monotonic()
        process.send_signal(getattr(signal, second))
        assert process.wait(timeout=60) == 128 + getattr(signal, second)
        assert time.monotonic() - began < 1.0
    finally:
        process.kill()
        process.communicate()


def test_the_handlers_are_put_back_after_an_error() -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(ValueError, match="lost"), StopRequest():
        raise ValueError("lost")
    assert [signal.getsignal(one) for one in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_ignored_before_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            stop.immediate = True
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            assert stop.number is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
