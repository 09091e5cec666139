"""The server and the routes of a run's page, on this machine alone, until Ctrl-C.

Every address is a fixed name. The one with a variable part, `/files/{name}`, is looked up among the files just listed
in the run's folder, so no text of a request ever becomes part of a path.
"""

import asyncio
import errno
import getpass
import json
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, Final, final

import uvicorn
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from dreamfields.errors import LockedError, UsageError
from dreamfields.export.pictures.table import PICTURES, VIDEOS
from dreamfields.export.viewer import data_text, library_text
from dreamfields.runs.directory import RunDirectory
from dreamfields.studio.gate import Gate
from dreamfields.studio.watcher import Journal, Watcher

HOST = "127.0.0.1"  # The only address served; other machines connect through ssh
MAX_VIEWERS: Final = 16  # Pages that may be open at once

# What a browser may show, by the ending in small letters; everything else can only be saved.
_PICTURE_TYPES: Final = {ending: known.media_type for ending, known in PICTURES.items()}
_VIDEO_TYPES: Final = {str(ending): media_type for ending, media_type in VIDEOS.items()}
_MEDIA_TYPES: Final = _PICTURE_TYPES | _VIDEO_TYPES | {".glb": "model/gltf-binary"}
_POLL_S: Final = 0.25
_KEEPALIVE_S: Final = 15.0


def view(path: Path, port: int, console: Console) -> int:
    """Serve the page of the run in a folder until stopped, and return the exit code; `port` 0 takes a free one.

    Raises UsageError: no run or no such port; StorageError: unreadable record; LockedError: the port is in use.
    """
    journal = Journal(RunDirectory(path))
    with listen(port) as listener:
        console.print(f'"{journal.record.config.prompt}", {path}', soft_wrap=True, markup=False)
        token = secrets.token_urlsafe(32)
        server = make_server(journal, listener, token)
        announce(listener.getsockname()[1], token, console)
        # uvicorn stops and then raises the signal once more, which may or may not arrive here.
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        console.print("stopped looking; the run is untouched", soft_wrap=True)
    return 0


def listen(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1. Raises UsageError: no such port; LockedError: the port is in use."""
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
        access_log=False,  # Addresses hold the token, so none is logged
        log_config=None,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    return server


@final
class _Server(uvicorn.Server):
    """A server that leaves signals ignored that its process was started to ignore, as a shell's background jobs are."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM, unless they are ignored."""
        ignored = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is signal.SIG_IGN]
        with super().capture_signals():
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            yield


def announce(port: int, token: str, console: Console) -> None:
    """Print the address of the page, here and from another machine."""
    lines = [
        f"  http://{HOST}:{port}/?token={token}",
        "From another machine, run this there and open the same address:",
        f"  ssh -N -L {port}:{HOST}:{port} {_user()}@{socket.gethostname()}",
        "Ctrl-C ends the page, never the run.",
    ]
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def make_app(watcher: Watcher, port: int, token: str, is_stopping: Callable[[], bool]) -> ASGIApp:
    """Return the page of a run at a port of 127.0.0.1, behind a `Gate`; streams end once `is_stopping` returns true."""
    app = Starlette(routes=page_routes(watcher, is_stopping), lifespan=lambda _: watcher.watching())
    app.router.redirect_slashes = False  # A redirect would repeat the requested address; no answer may
    return Gate(app, port, token)


def page_routes(watcher: Watcher, is_stopping: Callable[[], bool]) -> list[Route]:
    """Return all routes; each answers GET alone and changes nothing."""

    async def events(_: Request) -> Response:
        if watcher.viewers >= MAX_VIEWERS:
            return PlainTextResponse("too many pages are open; close one\n", 429, {"retry-after": "10"})
        return StreamingResponse(_stream(watcher, is_stopping), media_type="text/event-stream")

    async def image(_: Request) -> Response:
        return _made(watcher.preview.image if watcher.preview else b"", "image/png")

    async def mesh(_: Request) -> Response:
        return _made(watcher.preview.mesh if watcher.preview else b"", "model/gltf-binary")

    async def file(request: Request) -> Response:
        path = (await asyncio.to_thread(watcher.journal.files)).get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("there is no such file\n", 404)
        if media_type := _MEDIA_TYPES.get(path.suffix.lower()):
            return FileResponse(path, media_type=media_type)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    texts = {
        "/": (_page("live.html"), "text/html"),
        "/live.js": (_page("live.js"), "text/javascript"),
        "/live.css": (data_text("viewer.css") + _page("live.css"), "text/css"),
        "/model-viewer.js": (library_text(), "text/javascript"),
    }
    made = {"/events": events, "/image.png": image, "/object.glb": mesh, "/files/{name}": file}
    fixed = [Route(path, Response(text, media_type=kind), methods=["GET"]) for path, (text, kind) in texts.items()]
    return fixed + [Route(path, answer) for path, answer in made.items()]


async def _stream(watcher: Watcher, is_stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield a run's identity and then each new state, as server-sent events."""
    watcher.viewers += 1
    try:
        yield _event("run", watcher.identity())
        sent, silent = -1, 0.0
        while not is_stopping():
            if watcher.version != sent:
                sent, silent = watcher.version, 0.0
                yield _event("state", watcher.state())
            elif silent >= _KEEPALIVE_S:
                silent = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(_POLL_S)
            silent += _POLL_S
    finally:
        watcher.viewers -= 1


def _user() -> str:
    """Return who runs this process; a number where the system has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        return str(os.getuid())


def _event(name: str, content: dict[str, Any]) -> str:
    # JSON holds no line breaks, so its text cannot end the event.
    return f"event: {name}\ndata: {json.dumps(content, allow_nan=False)}\n\n"


def _made(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type) if content else PlainTextResponse("there is none yet\n", 404)


def _page(name: str) -> str:
    return resources.files("dreamfields.studio").joinpath(f"data/{name}").read_text(encoding="utf-8")
