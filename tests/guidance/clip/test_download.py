"""A hub of this machine with eleven faults: each ends in one sentence with a remedy, in less than five seconds."""

import hashlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from dreamfields.errors import DreamfieldsError, MissingPackageError, StorageError
from dreamfields.guidance.clip import download, hub
from tests.support.clips import make_folder

ID, REVISION = "somebody/tiny-clip", "0123456789abcdef0123456789abcdef01234567"
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a cache and a record of its own."""
    monkeypatch.setenv("DREAMFIELDS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def reply(request: http.server.BaseHTTPRequestHandler, status: int, content: bytes, **headers: str) -> None:
    """Answer in full."""
    request.send_response(status)
    for name, value in ({"Content-Length": str(len(content))} | headers).items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)


def listing(model: Path, tree: bool) -> bytes:
    """Return the hub's answer about a model, or about its files only."""
    files = [
        {
            "rfilename": path.name,
            "path": path.name,
            "type": "file",
            "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
            "lfs": {
                "size": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "oid": hashlib.sha256(path.read_bytes()).hexdigest(),
                "pointerSize": 130,
            },
        }
        for path in sorted(model.iterdir())
    ]
    return json.dumps(files if tree else {"id": ID, "modelId": ID, "sha": REVISION, "siblings": files}).encode()


def answer_with(model: Path, spoil: Callable[[http.server.BaseHTTPRequestHandler, bytes], None] | None) -> Answer:
    """Answer as a hub that has a model does, but for its weights."""

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        if path.startswith("/api/"):
            reply(request, 200, listing(model, "/tree/" in path), Content_Type="application/json")
            return
        name = path.rsplit("/", 1)[1]
        content = (model / name).read_bytes()
        facts = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X_Repo_Commit": REVISION}
        if request.command == "HEAD" or spoil is None or name != "model.safetensors":
            reply(request, 200, content, **facts)
        else:
            spoil(request, content)

    return answer


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], None]]:
    """Start a hub that answers as it is told."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(answer: Answer) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    answer(self)
                except OSError:  # The client has given up.
                    self.close_connection = True

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fault(kind: type[DreamfieldsError] = MissingPackageError) -> str:
    """Return the sentence that a download ends with, which must come in time and be one line."""
    began = time.perf_counter()
    with pytest.raises(kind) as caught:
        hub.download(ID)
    assert time.perf_counter() - began < 5.0
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert sentence.startswith(f"cannot download {ID}")
    assert hub.read_records() == {}
    return sentence


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    sentence = fault()
    assert f"http://127.0.0.1:{port} cannot be reached" in sentence
    assert "HF_ENDPOINT" in sentence
    assert "clip:/path/to/folder" in sentence


@pytest.mark.parametrize("hangs", [False, True])
def test_a_name_that_cannot_be_resolved_or_takes_for_ever(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        if hangs:
            time.sleep(8.0)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(download, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert ("did not answer" if hangs else "cannot be reached") in fault()


def test_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 1.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert "cannot be reached (timed out)" in fault()


def test_slow(serve: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 1.0)

    def trickle(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b" ")
            time.sleep(0.1)

    serve(trickle)
    assert "did not answer in 1 seconds" in fault()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "says that there is no such model or revision (404)"),
        (401, "does not exist there, or is private (401)"),
        (403, "access is refused (403); its page there may ask to accept terms"),
        (500, "fails: Internal Server Error (500)"),
    ],
)
def test_an_answer_that_says_no(status: int, words: str, serve: Callable[[Answer], None]) -> None:
    serve(lambda request: reply(request, status, b"no"))
    assert words in fault()


def test_a_redirect_that_leads_to_itself(serve: Callable[[Answer], None]) -> None:
    serve(lambda request: reply(request, 302, b"", Location=request.path))
    assert "infinite loop" in fault()


@pytest.mark.parametrize("content", [b"<html>Log in to the hotel's network</html>", b"[]", b'{"siblings": [3]}'])
def test_wrong_bytes_for_an_answer(content: bytes, serve: Callable[[Answer], None]) -> None:
    serve(lambda request: reply(request, 200, content))
    assert "is not what a hub would" in fault()


def test_wrong_bytes_for_a_file(serve: Callable[[Answer], None], model: Path, tmp_path: Path) -> None:
    def swap(request: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
        reply(request, 200, content[:-1] + b"\x7f")

    serve(answer_with(model, swap))
    assert "model.safetensors came damaged" in fault()
    assert not list((tmp_path / "cache").rglob("model.safetensors"))


def test_folders_that_come_and_go_while_a_download_is_watched(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    ended = threading.Event()

    def client() -> None:
        while not ended.is_set():
            for folder in (tmp_path / f"tmp{number}" for number in range(20)):
                folder.mkdir()
                folder.rmdir()

    thread = threading.Thread(target=client)
    thread.start()
    try:
        assert {download._bytes_in(tmp_path) for _ in range(500)} == {1000}
    finally:
        ended.set()
        thread.join()


def test_a_partial_file(serve: Callable[[Answer], None], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_STALL_S", 1.0)

    def stop(request: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[:100])
        request.wfile.flush()
        time.sleep(6.0)

    serve(answer_with(model, stop))
    assert "nothing came for 1 seconds; run the same again" in fault()


def test_a_cache_that_cannot_be_written_to(
    serve: Callable[[Answer], None], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(answer_with(model, None))
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    assert "cannot be written to; set HF_HOME" in fault(StorageError)


def test_what_the_client_cannot_do_is_its_first_line(
    serve: Callable[[Answer], None], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "fetch_metadata", lambda model_id, revision: {})
    serve(lambda request: reply(request, 404, b"{}", X_Error_Code="RepoNotFound"))
    assert "404 Client Error" in fault()


def test_a_hub_without_a_fault_gives_the_model(serve: Callable[[Answer], None], model: Path) -> None:
    serve(answer_with(model, None))
    found = hub.download(ID)
    assert found.revision == REVISION
    assert hub.checked_digests(hub.locate(ID)).keys() == {path.name for path in model.iterdir()}
