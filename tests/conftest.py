"""What holds for the whole suite: no network, one thread, known seeds, the same examples every time."""

import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

import dreamfields.cpu
import dreamfields.guidance.cpu
import dreamfields.render.cpu

# Sums over threads depend on how many there are; bit-equality is promised at a fixed number only.
THREADS = 1
torch.set_num_threads(THREADS)

# Runs are reproducible: a law that fails here fails everywhere. No deadline, as machines differ.
settings.register_profile("suite", derandomize=True, deadline=None, database=None, max_examples=40)
settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes unless it is asked for by its marker."""
    if "reliability" in str(config.getoption("-m")):
        return
    long = [item for item in items if item.get_closest_marker("reliability")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Numba is not installed: no module of compiled loops can be imported."""
    monkeypatch.setitem(sys.modules, "numba", None)
    for package in (dreamfields.cpu, dreamfields.render.cpu, dreamfields.guidance.cpu):
        for path in Path(str(package.__file__)).parent.glob("*.py"):
            if "numba" in path.read_text("utf-8") or "cpu.compiled" in path.read_text("utf-8"):
                monkeypatch.delitem(sys.modules, f"{package.__name__}.{path.stem}", raising=False)
                monkeypatch.delattr(package, path.stem, raising=False)


class NetworkUsedError(BaseException):
    """The package tried to leave this machine; not an Exception, so no handler can swallow it."""


def refuse_beyond_loopback(address: Any) -> None:
    """Raise unless a socket address stays on this machine: loopback, or a Unix socket (a path)."""
    host = address[0] if isinstance(address, tuple) else None
    if host is not None and host != "localhost" and host != "::1" and not str(host).startswith("127."):
        raise NetworkUsedError(f"connection to {address} during the tests")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Let every connection beyond this machine fail loudly, name resolution included."""
    connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse_beyond_loopback(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        refuse_beyond_loopback(address)
        return connect_ex(self, address)

    def guarded_resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host:
            refuse_beyond_loopback((host,))
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_resolve)
        yield


@pytest.fixture(autouse=True)
def known_start() -> Iterator[None]:
    """Start every test from the same random state and number of threads, so that no test depends on another."""
    torch.set_num_threads(THREADS)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    # What several tests share is made before the first of them starts.
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session", autouse=True)
def no_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is recorded of models away from the user's own record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DREAMFIELDS_HOME", str(tmp_path_factory.mktemp("home")))
        yield
