"""The server of a run's page, on this machine alone, until Ctrl-C."""

import errno
import getpass
import secrets
import socket
from contextlib import suppress
from pathlib import Path

import uvicorn
from rich.console import Console

from dreamfields.errors import LockedError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.studio.app import make_app
from dreamfields.studio.journal import Journal
from dreamfields.studio.watcher import Watcher

HOST = "127.0.0.1"  # The only address served; other machines connect through ssh


def view(path: Path, port: int, console: Console) -> int:
    """Serve the page of the run in a folder until stopped, and return the exit code; `port` 0 takes a free one.

    Raises:
        UsageError: there is no run, or no such port.
        StorageError: the run's record cannot be read.
        LockedError: the port is in use.
    """
    journal = Journal(RunDirectory(path))
    with listen(port) as listener:
        console.print(f'"{journal.config.prompt}", {path}', soft_wrap=True, markup=False)
        token = secrets.token_urlsafe(32)
        server = make_server(journal, listener, token)
        announce(listener.getsockname()[1], token, console)
        # uvicorn stops and then raises the signal once more, which may or may not arrive here.
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        console.print("stopped looking; the run is untouched", soft_wrap=True)
    return 0


def listen(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1.

    Raises:
        UsageError: there is no such port, or this user may not have it.
        LockedError: the port is in use.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port is {port}; it must be from 1 to 65535, or 0 for a free one")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # The port of a server that just stopped is free; one in use is still refused.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise LockedError(f"port {port} is in use; choose another --port, or --port 0 for a free one") from error
        raise UsageError(f"--port {port} cannot be used: {error.strerror}; choose another, or --port 0") from error
    return listener


def make_server(journal: Journal, listener: socket.socket, token: str) -> uvicorn.Server:
    """Return the server of a run's page, to be run on a listening socket."""
    app = make_app(Watcher(journal), listener.getsockname()[1], token, lambda: server.should_exit)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        # Addresses hold the token, so none is logged.
        access_log=False,
        log_config=None,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    return server


def announce(port: int, token: str, console: Console) -> None:
    """Print the address of the page, here and from another machine."""
    lines = [
        f"  http://{HOST}:{port}/?token={token}",
        "From another machine, run this there and open the same address:",
        f"  ssh -N -L {port}:{HOST}:{port} {getpass.getuser()}@{socket.gethostname()}",
        "Ctrl-C ends the page, never the run.",
    ]
    console.print("\n".join(lines), soft_wrap=True, markup=False)
