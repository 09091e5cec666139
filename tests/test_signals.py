"""Signals: the first is noted, the second stops at once, and the handlers are put back."""

import os
import signal

import pytest

from dreamfields.signals import StopRequest

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_stops_at_once(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with StopRequest() as stop:
        assert stop.number is None
        os.kill(os.getpid(), number)
        assert stop.number == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert stop.number == number
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_the_handlers_are_put_back_after_an_error() -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(ValueError, match="lost"), StopRequest():
        raise ValueError("lost")
    assert [signal.getsignal(one) for one in SIGNALS] == before
