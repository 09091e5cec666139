"""The guards of the suite are themselves tested: a guard that lets everything pass proves nothing."""

import socket

import pytest
import torch

from tests.conftest import NetworkUsedError, refuse_beyond_loopback


def test_connections_beyond_this_machine_are_refused() -> None:
    with socket.socket() as outside, pytest.raises(NetworkUsedError):
        outside.connect(("192.0.2.1", 80))
    with socket.socket() as outside, pytest.raises(NetworkUsedError):
        outside.connect_ex(("192.0.2.1", 80))


def test_names_are_not_resolved_either() -> None:
    with pytest.raises(NetworkUsedError):
        socket.create_connection(("example.invalid", 443), timeout=1.0)


@pytest.mark.parametrize("address", [("127.0.0.1", 80), ("localhost", 80), ("::1", 80, 0, 0), "/tmp/a-unix-socket"])
def test_loopback_stays_open(address: object) -> None:
    refuse_beyond_loopback(address)


def test_a_loopback_connection_works() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        with socket.create_connection(server.getsockname(), timeout=5.0):
            pass


@pytest.mark.parametrize("turn", ["first", "after a test that took more"])
def test_every_test_starts_on_one_thread(turn: str) -> None:
    assert torch.get_num_threads() == 1, turn
    torch.set_num_threads(2)
