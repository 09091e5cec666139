"""The gate in front of a local page: which requests get an answer, and the headers of every answer.

Every page open in the same browser and every user of the machine can reach a server on 127.0.0.1. A request passes only
if all of these hold:

* **Host** is one header and exactly our address; a foreign name that resolves to it (DNS rebinding) is refused.
* **Origin**, where given, is exactly ours; `null` is not.
* **Sec-Fetch-Site**, where given, names our own page or the address bar.
* **Token**: the right cookie or `Authorization: Bearer`. The first visit has it in the address, gets the cookie, and is
  redirected to the address without it.

Every route behind the gate only reads, so forms and methods other than GET need no guard.
"""

import hmac
from collections.abc import Mapping
from typing import Final, final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final[Mapping[str, str]] = {
    # model-viewer compiles a mesh decoder to WebAssembly, and keeps its style in a shadow tree.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer, refusals included."""

# Redirects by a page: after an HTTP redirect that began on another site browsers would not send a strict cookie.
_LANDING: Final = '<!DOCTYPE html><link rel="icon" href="data:,"><meta http-equiv="refresh" content="0;url=/">'


@final
class Gate:
    """Lets requests through to an application, or refuses them with one sentence."""

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        """Guard an application at a port of 127.0.0.1 by a secret token, long, random and of URL-safe ASCII."""
        self._app, self._token = app, token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"} | ({"127.0.0.1", "localhost"} if port == 80 else set())
        # Cookies are shared by all ports: each server of a machine needs its own.
        self._cookie = f"dreamfields-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._refusal(Headers(scope=scope)) or self._welcome(scope)
            await (answer or self._app)(scope, receive, send_with_headers)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, headers: Headers) -> Response | None:
        """Return the refusal of a request from elsewhere; None for one from our own page."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return PlainTextResponse("this page answers only at the address that was printed for it\n", 421)
        if any(origin != f"http://{hosts[0]}" for origin in headers.getlist("origin")):
            return PlainTextResponse("another page may not request anything of this one\n", 403)
        if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
            return PlainTextResponse("another page led here; copy the address into the address bar instead\n", 403)
        return None

    def _welcome(self, scope: Scope) -> Response | None:
        """Return the answer to a request without the cookie; None if the request may pass."""
        request = Request(scope)
        cookie = request.cookies.get(self._cookie, "")
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if self._is_token(cookie) or (scheme.lower() == "bearer" and self._is_token(bearer)):
            return None
        if scope["path"] == "/" and self._is_token(request.query_params.get("token", "")):
            answer = HTMLResponse(_LANDING)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            return answer
        refusal = "the token is missing or of an earlier start; open the whole address that was printed\n"
        return PlainTextResponse(refusal, 401)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="surrogatepass"), self._token.encode())
