"""The gate: on every route a request from elsewhere, or without the token, gets one sentence and nothing else."""

import re
from collections.abc import Iterator
from importlib import resources

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from dreamfields.api import start
from dreamfields.runs.directory import RunDirectory
from dreamfields.studio.serve import HEADERS, Gate, make_app, page_routes
from dreamfields.studio.watcher import Journal, Watcher
from tests.support.toys import tiny_config

PORT = 8350
HERE = f"http://127.0.0.1:{PORT}"
TOKEN = "the-token-of-this-server-and-of-no-other"

ROUTES = ["/", "/live.js", "/live.css", "/model-viewer.js", "/events", "/image.png", "/object.glb", "/files/{name}"]
ADDRESSES = [*(route.format(name="object.glb") for route in ROUTES), "/no-such-route", "/files/run.json"]

FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    f"127.0.0.1.evil.example:{PORT}",
    f"10.evil.example:{PORT}",
    f"localhost.:{PORT}",
    f"localhost@evil.example:{PORT}",
    f"evil.example@localhost:{PORT}",
    "",
    "127.0.0.1",
    "localhost",
    f"127.0.0.1:{PORT + 1}",
    f"127.0.0.1:{PORT}0",
    f"127.0.0.1:{PORT}:{PORT}",
    f"127.0.0.2:{PORT}",
    f"0.0.0.0:{PORT}",
    f"[::1]:{PORT}",
    f"[::ffff:127.0.0.1]:{PORT}",
    f"2130706433:{PORT}",
    f"0x7f000001:{PORT}",
    f"127.1:{PORT}",
    f"127.0.0.1:{PORT},evil.example",
    f"127.0.0.1:{PORT} evil.example",
    f"http://127.0.0.1:{PORT}",
    f"127.0.0.1:{PORT}/",
]
FOREIGN_ORIGINS = [
    "null",
    "",
    "http://evil.example",
    f"https://127.0.0.1:{PORT}",
    f"http://localhost:{PORT}",  # Ours by another name: not the one that was asked.
    f"http://127.0.0.1:{PORT + 1}",
    f"http://127.0.0.1:{PORT}.evil.example",
    "http://127.0.0.1:abc",
    "http://127.0.0.1:99999999",
    "http://127.0.0.1",
    f"http://127.0.0.1:{PORT}/",
    f"http://user@127.0.0.1:{PORT}",
    f"HTTP://127.0.0.1:{PORT}",
    "http://[",
    "chrome-extension://abcdef",
    "file://",
]
WRONG_TOKENS = ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\u00e9\u00ff", '"', TOKEN * 100]


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Watcher:
    run = start(tiny_config(), tmp_path_factory.mktemp("runs"))
    (run.path / "object.glb").write_bytes(b"glTF")
    return Watcher(Journal(RunDirectory(run.path)))


@pytest.fixture
def stranger(watcher: Watcher) -> Iterator[TestClient]:
    """A client that asks at the right address, without a token."""
    # Streams end at once, so that a test can read them.
    with TestClient(make_app(watcher, PORT, TOKEN, lambda: True), HERE) as client:
        yield client


@pytest.fixture
def owner(stranger: TestClient) -> TestClient:
    """A client that opened the address that was printed."""
    assert stranger.get("/", params={"token": TOKEN}).status_code == 200
    return stranger


def test_the_list_of_routes_is_complete(watcher: Watcher) -> None:
    assert [route.path for route in page_routes(watcher, lambda: True)] == ROUTES


def test_who_has_the_token_gets_every_route(owner: TestClient) -> None:
    made = {"/image.png", "/object.glb"}  # Nothing has been made of this run.
    answers = {route: owner.get(route.format(name="object.glb")).status_code for route in ROUTES}
    assert answers == {route: 404 if route in made else 200 for route in ROUTES}


@pytest.mark.parametrize("address", ADDRESSES)
def test_without_the_token_there_is_nothing(stranger: TestClient, address: str) -> None:
    answer = stranger.get(address)
    assert (answer.status_code, answer.text.count("\n")) == (401, 1)
    for token in WRONG_TOKENS:
        sent = token.encode("latin-1")
        for headers in ({b"cookie": b"dreamfields-8350=" + sent}, {b"authorization": b"Bearer " + sent}):
            assert stranger.get(address, headers=headers).status_code == 401, (address, token)
        assert stranger.get(address, params={"token": token}).status_code == 401
    # Neither the cookie of another port, nor the right token where it does not belong.
    for misplaced in ({"cookie": f"dreamfields-8351={TOKEN}"}, {"authorization": f"Basic {TOKEN}"}):
        assert stranger.get(address, headers=misplaced).status_code == 401
    if address != "/":
        assert stranger.get(address, params={"token": TOKEN}).status_code == 401


@pytest.mark.parametrize("address", ADDRESSES)
def test_under_another_name_there_is_nothing_even_with_the_token(owner: TestClient, address: str) -> None:
    for host in FOREIGN_HOSTS:
        assert owner.get(address, headers={"host": host}).status_code == 421, host
    twice = [("host", f"127.0.0.1:{PORT}"), ("host", "evil.example")]
    assert owner.get(address, headers=twice).status_code == 421
    assert owner.get(address, headers={"host": "evil.example"}, params={"token": TOKEN}).status_code == 421


@pytest.mark.parametrize("address", ADDRESSES)
def test_other_pages_get_nothing_even_with_the_token(owner: TestClient, address: str) -> None:
    for origin in FOREIGN_ORIGINS:
        assert owner.get(address, headers={"origin": origin}).status_code == 403, origin
    assert owner.get(address, headers=[("origin", HERE), ("origin", "http://evil.example")]).status_code == 403
    for site in ("cross-site", "same-site", "", "other"):
        assert owner.get(address, headers={"sec-fetch-site": site}).status_code == 403, site


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_our_own_page_may_ask_under_both_names(owner: TestClient, name: str) -> None:
    here = f"{name}:{PORT}"
    for extra in ({}, {"origin": f"http://{here}"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}):
        cookie = {"cookie": f"dreamfields-{PORT}={TOKEN}"}
        assert owner.get("/live.js", headers={"host": here} | cookie | extra).status_code == 200


def test_a_bearer_may_ask_without_a_cookie(stranger: TestClient) -> None:
    assert stranger.get("/live.js", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_token_leaves_the_address_and_stays_out_of_scripts_reach(stranger: TestClient) -> None:
    answer = stranger.get("/", params={"token": TOKEN})
    assert TOKEN not in answer.text
    assert 'url=/"' in answer.text
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"dreamfields-{PORT}={TOKEN};")
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    page = stranger.get("/")
    assert page.status_code == 200
    assert TOKEN not in page.text + str(page.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(owner: TestClient, watcher: Watcher, method: str) -> None:
    before = {path: path.read_bytes() for path in watcher.journal.directory.path.iterdir() if path.is_file()}
    for address in ADDRESSES:
        override = {"x-http-method-override": "DELETE"}
        answer = owner.request(method, address, content=b'{"status": "finished"}', headers=override)
        assert answer.status_code in (404, 405)
    assert {path: path.read_bytes() for path in watcher.journal.directory.path.iterdir() if path.is_file()} == before


def test_every_answer_carries_the_headers_and_says_nothing_of_the_machine(owner: TestClient, watcher: Watcher) -> None:
    with_faults = [{}, {"host": "evil.example"}, {"origin": "null"}, {"cookie": "none=1"}]
    for address in ADDRESSES:
        for headers in with_faults:
            answer = owner.get(address, headers=headers)
            assert HEADERS.items() <= dict(answer.headers).items(), address
            assert answer.headers["content-type"]
            assert "access-control-allow-origin" not in answer.headers
            if answer.status_code >= 400:
                assert str(watcher.journal.directory.path) not in answer.text
                assert "Traceback" not in answer.text


def test_the_policy_lets_no_script_of_a_page_s_text_run() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in HEADERS["content-security-policy"].split(";"))
    assert rules["default-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "'unsafe-inline'" not in rules["script-src"]
    assert "'unsafe-eval'" not in rules["script-src"]
    assert not [rule for rule in rules.values() if "http" in rule or "*" in rule]


@pytest.mark.parametrize(
    ("package", "name"),
    [("export", "object.js"), ("export", "object.html"), ("studio", "live.js"), ("studio", "live.html")],
)
def test_pages_never_take_text_for_markup_and_name_no_host(package: str, name: str) -> None:
    text = resources.files(f"dreamfields.{package}").joinpath(f"data/{name}").read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "javascript:"):
        assert way not in text, way
    assert not re.search(r"<[^>]*\son\w+=", text)
    named = set(re.findall(r"https?://[^\s\"')]+", text))
    assert named <= {"http://www.w3.org/2000/svg", "https://www.apache.org/licenses/LICENSE-2.0"}


def test_sockets_are_refused_at_the_handshake_whatever_is_behind_the_gate() -> None:
    async def welcoming(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    client = TestClient(Gate(welcoming, PORT, TOKEN), HERE, cookies={f"dreamfields-{PORT}": TOKEN})
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/events"):
        pass
