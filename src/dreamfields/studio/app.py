"""The routes of a run's local page.

Every address is a fixed name. The one with a variable part, `/files/{name}`, is looked up among the files just listed
in the run's folder, so no text of a request ever becomes part of a path.
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

from dreamfields.export.viewer import data_text, library_text
from dreamfields.studio.gate import Gate
from dreamfields.studio.watcher import Watcher

MAX_VIEWERS: Final = 16  # Pages that may be open at once

_MEDIA_TYPES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".glb": "model/gltf-binary",
}
"""Types that a browser may show; everything else can only be saved."""
_POLL_S: Final = 0.25
_KEEPALIVE_S: Final = 15.0


def make_app(watcher: Watcher, port: int, token: str, is_stopping: Callable[[], bool] = lambda: False) -> ASGIApp:
    """Return the page of a run as an ASGI application behind a `Gate`, served at a port of 127.0.0.1.

    Open streams end once `is_stopping` returns true.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with watcher.watching():
            yield

    app = Starlette(routes=page_routes(watcher, is_stopping), lifespan=lifespan)
    # A redirect would repeat the address that was asked for; no answer does.
    app.router.redirect_slashes = False
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
        if path.suffix in _MEDIA_TYPES:
            return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix])
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    texts = {
        "/": (_page("live.html"), "text/html"),
        "/live.js": (_page("live.js"), "text/javascript"),
        "/live.css": (data_text("viewer.css") + _page("live.css"), "text/css"),
        "/model-viewer.js": (library_text(), "text/javascript"),
    }
    return [
        *(Route(path, Response(text, media_type=kind), methods=["GET"]) for path, (text, kind) in texts.items()),
        Route("/events", events),
        Route("/image.png", image),
        Route("/object.glb", mesh),
        Route("/files/{name}", file),
    ]


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


def _event(name: str, content: dict[str, Any]) -> str:
    # JSON holds no line breaks, so its text cannot end the event.
    return f"event: {name}\ndata: {json.dumps(content, allow_nan=False)}\n\n"


def _made(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type) if content else PlainTextResponse("there is none yet\n", 404)


def _page(name: str) -> str:
    return resources.files("dreamfields.studio").joinpath(f"data/{name}").read_text(encoding="utf-8")
