"""The server itself, on a real loopback socket: what it prints, what leaves it, and how it ends."""

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path
from typing import Any, Self

import pytest
from rich.console import Console

from dreamfields.api import Run, start
from dreamfields.cli.main import main
from dreamfields.errors import LockedError, UsageError
from dreamfields.runs.directory import RunDirectory
from dreamfields.scene.fields import FIELDS
from dreamfields.studio import preview, serve
from dreamfields.studio.serve import MAX_VIEWERS
from dreamfields.studio.watcher import Journal
from tests.support.toys import TINY, tiny_config

TOKEN = "a-token"
CANARY = b"canary: not to be served"
PATIENCE = 60.0
"""Seconds after which a page is given up; machines can be busy."""


@contextmanager
def served(run: Run) -> Iterator[int]:
    """Serve a run's page in a thread and give its port."""
    listener = serve.listen(0)
    server = serve.make_server(Journal(RunDirectory(run.path)), listener, TOKEN)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = start(tiny_config(), tmp_path_factory.mktemp("runs"))
    for _ in run.steps():
        pass
    run.finish()
    return run


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes


def ask(port: int, address: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", address, headers={"authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


class Events:
    """The stream of a page."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.connection.request("GET", "/events", headers={"authorization": f"Bearer {TOKEN}"})
        self.answer = self.connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self.connection.close()

    def next(self, kind: str) -> dict[str, Any]:
        """Return the next event of a kind."""
        name = ""
        while True:
            line = self.answer.readline().decode()
            assert line, "the stream has ended"
            if line.startswith("event: "):
                name = line.removeprefix("event: ").strip()
            elif line.startswith("data: ") and name == kind:
                content: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return content

    def until(self, *present: str, **wanted: Any) -> dict[str, Any]:
        """Return the first state in which some entries are present and others are as wanted."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            state = self.next("state")
            if all(state[name] for name in present) and wanted.items() <= state.items():
                return state
        raise AssertionError(f"never: {present} {wanted}")


def test_a_run_is_followed_from_its_first_step_to_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "FIELDS", {"voxels": replace(FIELDS["voxels"], preview_size=24)})
    run = start(tiny_config(), tmp_path)
    with served(run) as port, Events(port) as events:
        assert events.answer.headers.get_content_type() == "text/event-stream"
        identity = events.next("run")
        assert (identity["prompt"], identity["facts"]["seed"]) == ("a red ball", 0)
        assert identity["settings"]["recipe"]["voxels"]["coarsest_cells"] == 2
        state = events.until(status="started")
        assert (state["image"], state["mesh"], state["curve"]) == ("", "", [])
        steps = run.steps()
        next(steps)
        state = events.until(step=1, status="running")
        # No checkpoint is due before step 5: one is asked for because somebody looks.
        for _ in range(3):
            end = time.monotonic() + PATIENCE
            while not list(run.path.glob(".checkpoint-wanted")) and time.monotonic() < end:
                time.sleep(0.05)
            next(steps)
            if preview.newest_checkpoint(run.directory):
                break
        next(steps)
        state = events.until("image", "mesh")
        assert ask(port, state["image"]).body[:4] == b"\x89PNG"
        assert ask(port, state["mesh"]).body[:4] == b"glTF"
        for _ in steps:
            pass
        state = events.until(status="optimized", step=TINY.optimize.steps)
        run.finish()
        state = events.until(status="finished")
        assert state["mesh"] == "/files/object.glb"
        assert ask(port, state["mesh"]).body == (run.path / "object.glb").read_bytes()
        assert len(state["curve"]) == TINY.optimize.steps
        # Who comes back later sees the same.
        with Events(port) as others:
            again = others.until("image", status="finished")
        assert (again["curve"], again["files"]) == (state["curve"], state["files"])


def test_what_a_run_made_can_be_taken_away(finished: Run) -> None:
    with served(finished) as port, Events(port) as events:
        state = events.next("state")
        assert {"object.glb", "object.html", "contact_sheet.png"} <= set(state["files"])
        for name in state["files"]:
            answer = ask(port, f"/files/{name}")
            assert answer.body == (finished.path / name).read_bytes()
            shown = name.endswith((".png", ".glb", ".mp4"))
            assert (answer.headers["content-disposition"] is None) == shown
            assert (answer.headers.get_content_type() == "application/octet-stream") != shown


def test_no_request_line_reaches_another_file(finished: Run) -> None:
    secrets = [finished.path.parent / "secret.png", finished.path / "secret.txt", finished.path / ".secret.png"]
    evil = finished.path.with_name(f"{finished.path.name}-evil")
    evil.mkdir()
    for path in [*secrets, evil / "secret.png"]:
        path.write_bytes(CANARY)
    (finished.path / "link.png").symlink_to(secrets[0])
    steps = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", "%252e%252e%252f", "....//", ".%00./", "./../"]
    names = [f"{step}{name}" for step in steps for name in ("secret.png", f"{evil.name}/secret.png", "run.json")]
    names += ["secret.txt", ".secret.png", "link.png", "run.json", ".lock", "metrics.jsonl", "checkpoints", ".", ".."]
    names += [str(secrets[0]), f"/{secrets[0]}", f"%2f{secrets[0]}", "object.glb%00.png", "object.glb/", "object.glb/."]
    names += ["object.glb::$DATA", "OBJECT.GLB", "object.glb.", "x" * 4096, "file:///etc/passwd", "~", "%ff%fe", ""]
    lines = [f"/files/{name}" for name in names] + [f"/{name}" for name in names] + [f"//{name}" for name in names]
    lines += ["//", "*", "http://127.0.0.1/files/../run.json"]
    with served(finished) as port:
        for target in lines:
            answer = raw(port, f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n")
            status = int(answer.split(b" ", 2)[1])
            assert CANARY not in answer
            assert b'"config"' not in answer
            assert status in (400, 404) or (status, target) in [(200, "/"), (200, "//")], (target, status)


def test_hostile_requests_get_an_answer_and_others_are_still_served(finished: Run) -> None:
    with served(finished) as port:
        head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        two_hosts = raw(port, f"{head}Host: evil.example\r\n")
        no_host = raw(port, f"GET / HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n")
        long_line = raw(port, f"GET /{'x' * 200_000} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n")
        many = raw(port, head + "".join(f"x-{index}: 1\r\n" for index in range(20_000)))
        nonsense = raw(port, "\x16\x03\x01 this is no request\r\n")
        for answer, status in [(two_hosts, (400, 421)), (no_host, (421,)), (long_line, (400, 431)), (many, (400, 431))]:
            assert int(answer.split(b" ", 2)[1]) in status
        assert nonsense.startswith((b"HTTP/1.1 400", b""))
        assert ask(port, "/").status == 200


def raw(port: int, request: str) -> bytes:
    """Send a request as it stands and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(f"{request}Connection: close\r\n\r\n".encode("latin-1"))
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except (BrokenPipeError, ConnectionResetError):
            return b"HTTP/1.1 400 connection closed"


def test_too_many_pages_are_refused_and_room_is_made_when_one_closes(finished: Run) -> None:
    with served(finished) as port, ExitStack() as stack:
        streams = [stack.enter_context(Events(port)) for _ in range(MAX_VIEWERS)]
        for stream in streams:
            stream.next("run")
        assert ask(port, "/events").status == 429
        streams[0].__exit__()
        end, status = time.monotonic() + PATIENCE, 429
        while status == 429 and time.monotonic() < end:
            with Events(port) as another:
                status = another.answer.status
        assert status == 200


def test_a_server_with_open_pages_ends_at_once(finished: Run) -> None:
    with ExitStack() as stack:
        with served(finished) as port:
            stack.enter_context(Events(port)).next("state")
            began = time.monotonic()
        assert time.monotonic() - began < 0.5 * PATIENCE


def test_only_this_machine_is_listened_to() -> None:
    with serve.listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_refused() -> None:
    with serve.listen(0) as listener, pytest.raises(LockedError, match=r"in use; choose another --port, or --port 0"):
        serve.listen(listener.getsockname()[1])


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=rf"--port is {port}; it must be from 1 to 65535, or 0"):
        serve.listen(port)


def test_a_server_s_port_is_free_again_at_once() -> None:
    with serve.listen(0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()
    serve.listen(port).close()


def test_what_is_printed_leads_to_the_page() -> None:
    console = Console(file=io.StringIO(), width=40)
    serve.announce(8123, "secret_[bold]-x", console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "http://127.0.0.1:8123/?token=secret_[bold]-x\n" in shown
    assert re.search(r"^  ssh -N -L 8123:127\.0\.0\.1:8123 \S+@\S+$", shown, re.MULTILINE)


def test_the_command_serves_until_stopped_without_torch_and_without_a_trace(finished: Run, tmp_path: Path) -> None:
    for name in ("torch", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')")
    before = sorted(finished.path.rglob("*"))
    folders = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "dreamfields", "view", str(finished.path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": folders})
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/\?token=([\w-]{40,}))", "".join(lines))
    assert found, lines
    with closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)) as connection:
        connection.request("GET", found[2])
        answer = connection.getresponse()
        assert (answer.status, answer.headers["set-cookie"].split("=")[1].split(";")[0]) == (200, found[3])
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest) == (0, "stopped looking; the run is untouched\n")
    assert sorted(finished.path.rglob("*")) == before


def test_a_taken_port_is_one_sentence_and_exit_5(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with serve.listen(0) as listener:
        port = str(listener.getsockname()[1])
        assert main(["view", str(finished.path), "--port", port]) == 5
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"dreamfields: port {port} is in use")


def test_a_user_whom_the_system_has_no_name_for_gets_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr("getpass.getuser", unknown)
    output = io.StringIO()
    serve.announce(8350, TOKEN, Console(file=output))
    assert f"ssh -N -L 8350:127.0.0.1:8350 {os.getuid()}@" in output.getvalue()


def test_a_server_started_to_ignore_signals_goes_on(finished: Run) -> None:
    script = "trap '' INT HUP; exec \"$@\""
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "dreamfields", "view", str(finished.path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "80"}) as process:
        assert process.stdout is not None
        try:
            address = next(line for line in process.stdout if "http://" in line).strip()
            port = int(re.findall(r":(\d+)/", address)[0])
            for _ in range(200):  # The handlers are set a moment after the address is printed.
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                    connection.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                    if connection.recv(9) == b"HTTP/1.1 ":
                        break
                time.sleep(0.05)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT):
                process.send_signal(number)
            time.sleep(1.0)
            assert process.poll() is None
            assert ask(port, "/").status == 401  # It still answers.
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
        finally:
            process.kill()
