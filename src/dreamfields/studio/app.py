"""The local page of one run: what can be asked for, and what is answered.

Every address is a fixed name. The one that holds a variable part, `/files/{name}`, looks it up among the files that
were just listed in the run's folder, so no text of a request ever becomes part of a path.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from dreamfields.export.viewer import library_text, style_text
from dreamfields.studio.gate import Gate
from dreamfields.studio.watcher import Watcher

MAX_VIEWERS: Final = 16
"""Pages that may be open at once."""

_SHOWN: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".glb": "model/gltf-binary",
}
"""Types that a browser may show; everything else is only ever saved."""
_TICK: Final = 0.25
_KEEPALIVE_S: Final = 15.0
"""Seconds after which a stream without news says that it is still there."""


def make_app(watcher: Watcher, port: int, token: str, is_stopping: Callable[[], bool] = lambda: False) -> ASGIApp:
    """Return the guarded page of a run as an ASGI application.

    Args:
        watcher: of the run.
        port: the port it is served at on 127.0.0.1.
        token: secret of this server; see `Gate`.
        is_stopping: tells when open streams are to end.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with watcher.watching():
            yield

    app = Starlette(routes=page_routes(watcher, is_stopping), lifespan=lifespan)
    # An address with a slash too many is none of ours; nothing of it goes into an answer.
    app.router.redirect_slashes = False
    return Gate(app, port, token)


def page_routes(watcher: Watcher, is_stopping: Callable[[], bool]) -> list[Route]:
    """Return all that can be asked for; every route answers GET alone and changes nothing."""

    async def events(_: Request) -> Response:
        if watcher.viewers >= MAX_VIEWERS:
            return PlainTextResponse("too many pages are open; close one\n", 429, {"retry-after": "10"})
        return StreamingResponse(_stream(watcher, is_stopping), media_type="text/event-stream")

    async def picture(_: Request) -> Response:
        return _made(watcher.preview.picture if watcher.preview else b"", "image/png")

    async def mesh(_: Request) -> Response:
        return _made(watcher.preview.mesh if watcher.preview else b"", "model/gltf-binary")

    async def file(request: Request) -> Response:
        files = await asyncio.to_thread(watcher.journal.files)
        path = files.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("there is no such file\n", 404)
        if path.suffix in _SHOWN:
            return FileResponse(path, media_type=_SHOWN[path.suffix])
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    return [
        Route("/", _fixed(_page("live.html"), "text/html")),
        Route("/live.js", _fixed(_page("live.js"), "text/javascript")),
        Route("/live.css", _fixed(style_text() + _page("live.css"), "text/css")),
        Route("/model-viewer.js", _fixed(library_text(), "text/javascript")),
        Route("/events", events),
        Route("/picture.png", picture),
        Route("/object.glb", mesh),
        Route("/files/{name}", file),
    ]


async def _stream(watcher: Watcher, is_stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield what a run is, and then each of its states that is news, as server-sent events."""
    watcher.viewers += 1
    try:
        yield _event("run", watcher.identity())
        seen, silent = -1, 0.0
        while not is_stopping():
            if watcher.version != seen:
                seen, silent = watcher.version, 0.0
                yield _event("state", watcher.state())
            elif silent >= _KEEPALIVE_S:
                silent = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(_TICK)
            silent += _TICK
    finally:
        watcher.viewers -= 1


def _event(name: str, content: dict[str, Any]) -> str:
    # JSON has no line ends of its own, so an event cannot be cut short from within.
    return f"event: {name}\ndata: {json.dumps(content, allow_nan=False)}\n\n"


def _made(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type) if content else PlainTextResponse("there is none yet\n", 404)


def _fixed(text: str, media_type: str) -> Callable[[Request], Any]:
    """Return what answers with a text that never changes."""

    async def answer(_: Request) -> Response:
        return Response(text, media_type=media_type)

    return answer


def _page(name: str) -> str:
    return resources.files("dreamfields.studio").joinpath(f"data/{name}").read_text(encoding="utf-8")
