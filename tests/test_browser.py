"""Pages in a real browser: what they draw, that they ask no host, and that a run's page lives with the run.

Any Chromium on the PATH will do, driven by playwright (`pip install dreamfields[browser]`); it draws WebGL in software.
DREAMFIELDS_PICTURES names a folder in which each test leaves a screenshot.
"""

import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamfields.api import Run, start
from dreamfields.config import Config
from dreamfields.export.formats.html import html_bytes
from dreamfields.export.settings import ExportSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.runs.directory import RunDirectory
from dreamfields.studio import serve
from dreamfields.studio.watcher import Journal
from tests.support.toys import TINY

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed; run: pip install dreamfields[browser]"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is there: put a chromium on the PATH"),
]

PATIENCE = 240.0
"""Seconds after which a page is given up; software rendering on a busy machine is slow."""
TOKEN = "a-token"
PAYLOADS = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "</title></script></style><svg onload=window.pwned=1>",
    '"><iframe srcdoc="<script>parent.pwned = 1</script>"></iframe>',
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned = 1')()}} ${window.pwned = 1}",
    "' onmouseover='window.pwned = 1' autofocus onfocus='window.pwned = 1",
    "--><script>window.pwned = 1</script><!--",
]


class Tab:
    """A page, and all that it asked for and complained of."""

    def __init__(self, browser: Any, width: int = 640, height: int = 480) -> None:
        # Without motion, drawing ends; with it, a processor alone would never come to rest.
        self.page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
        self.page.set_default_timeout(PATIENCE * 1000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on(
            "console", lambda message: self.complaints.append(message.text) if message.type == "error" else None
        )

    def ask(self, expression: str) -> Any:
        """Return what an expression is worth in the page; None while it is being left."""
        try:
            return self.page.evaluate(expression)
        except sync_api.Error:
            return None

    def until(self, expression: str) -> Any:
        """Wait until an expression holds in the page, and return its value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.ask(expression):
                return value
            time.sleep(0.2)
        raise AssertionError(f"never: {expression}; complaints: {self.complaints}")

    def text(self, name: str) -> str:
        """Return the text of an element by its id."""
        return str(self.ask(f"document.getElementById('{name}')?.textContent ?? ''"))

    def picture(self, name: str) -> Image.Image:
        """Return a screenshot, and leave it where the environment says."""
        content = self.page.screenshot()
        if folder := os.environ.get("DREAMFIELDS_PICTURES"):
            Path(folder, f"{name}.png").write_bytes(content)
        return Image.open(io.BytesIO(content)).convert("RGB")

    def stage(self) -> Image.Image:
        """Return what the viewer has drawn, over nothing."""
        content = self.page.evaluate(
            "async () => [...new Uint8Array(await (await document.getElementById('object')"
            ".toBlob({mimeType: 'image/png'})).arrayBuffer())]"
        )
        return Image.open(io.BytesIO(bytes(content))).convert("RGBA")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    software = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=software)
        yield chromium
        chromium.close()


def ball(root: Path, steps: int = 40, prompt: str = "a red ball") -> Run:
    """Start a run of the toy guidance that is worth looking at."""
    recipe: Recipe = replace(
        TINY,
        voxels=replace(TINY.voxels, coarsest_cells=4, levels=3),
        render=replace(TINY.render, size=24, samples=24),
        optimize=replace(TINY.optimize, steps=steps, checkpoint_every=1000, views=2),
    )
    export = ExportSettings(mesh_cells=32, max_faces=4000, sheet_size=64, video_size=64, video_frames=6)
    return start(Config(prompt, seed=0, device="cpu", threads=1, recipe=recipe, export=export), root)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = ball(tmp_path_factory.mktemp("runs"))
    for _ in run.steps():
        pass
    run.finish()
    return run


@contextmanager
def served(run: Run) -> Iterator[str]:
    """Serve a run's page in a thread and give its address."""
    listener = serve.listen(0)
    server = serve.make_server(Journal(RunDirectory(run.path)), listener, TOKEN)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token={TOKEN}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


def reddish(image: Image.Image) -> float:
    """Return the share of an image's pixels that are clearly more red than green and blue."""
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), dtype=int), -1, 0)
    return float(((red > green + 40) & (red > blue + 40)).mean())


DRAWN = "document.getElementById('object')?.loaded === true"


def test_the_page_in_one_file_draws_the_object_from_disk_and_asks_nobody(finished: Run, browser: Any) -> None:
    tab = Tab(browser)
    page = finished.path / "object.html"
    tab.page.goto(page.as_uri())
    tab.until(DRAWN)
    shown = tab.picture("one-file-test")
    stage = tab.stage()
    # A red ball: much red, in the middle of the stage, many shades of it, and nothing at the edge.
    assert 0.05 < reddish(shown) < 0.8
    covered = np.asarray(stage)[..., 3] > 128
    assert 0.1 < covered.mean() < 0.9
    assert covered[covered.shape[0] // 2, covered.shape[1] // 2]
    assert len(np.unique(np.asarray(stage.convert("RGB")).reshape(-1, 3), axis=0)) > 200
    assert tab.text("fault") == ""
    assert tab.page.title() == tab.page.locator("h1").inner_text() == "a red ball"
    # The file itself, and what it carries within; not one address besides.
    assert tab.requests[0] == page.as_uri()
    assert [url[:60] for url in tab.requests[1:] if not url.startswith(("data:", "blob:"))] == []
    assert tab.complaints == []


def test_a_page_that_asks_somebody_would_be_noticed(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><img id=object src='http://127.0.0.1:9/x.png'>")
    tab = Tab(browser)
    tab.page.goto(page.as_uri())
    tab.until("document.getElementById('object').complete")
    assert tab.requests[1:] == ["http://127.0.0.1:9/x.png"]
    assert tab.complaints != []


def test_a_page_that_turns_can_be_turned(finished: Run, browser: Any) -> None:
    tab = Tab(browser)
    tab.page.goto((finished.path / "object.html").as_uri())
    tab.until(DRAWN)
    looked_at_closely(tab)


def test_the_button_for_augmented_reality_is_there_only_where_it_works(finished: Run, browser: Any) -> None:
    tab = Tab(browser)
    tab.page.goto((finished.path / "object.html").as_uri())
    tab.until(DRAWN)
    assert tab.ask("document.getElementById('object').hasAttribute('ar')")
    can = tab.ask("document.getElementById('object').canActivateAR")
    button = "getComputedStyle(document.getElementById('object').shadowRoot.querySelector('.slot.ar-button')).display"
    assert (tab.ask(button) != "none") == can


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_prompt_is_text_in_the_page_in_one_file(finished: Run, browser: Any, tmp_path: Path, payload: str) -> None:
    page = tmp_path / "object.html"
    facts = {"prompt": payload, "guidance": payload, "generator": payload}
    page.write_bytes(html_bytes((finished.path / "object.glb").read_bytes(), facts, {payload: payload}))
    tab = Tab(browser)
    tab.page.goto(page.as_uri())
    tab.until("document.getElementById('object')?.alt")
    assert tab.page.locator("h1").inner_text() == " ".join(payload.split())
    assert tab.ask("typeof window.pwned") == "undefined"
    assert tab.complaints == []
    tab.page.close()


EYES = (
    "(viewer => [viewer.getCameraOrbit().theta, viewer.getCameraOrbit().phi, viewer.getCameraOrbit().radius,"
    " viewer.getFieldOfView()])(document.getElementById('object'))"
)


FRAMES = (
    "new Promise(done => { let left = 20; const next = () => left-- ? requestAnimationFrame(next) : done(); next() })"
)
"""Passes when twenty frames have been drawn: on a busy machine that is when something has had the time to move."""


def looked_at_closely(tab: Tab) -> Any:
    """Turn the object and come nearer, as a visitor does, and return where the eyes end."""
    before = tab.ask(EYES)
    box = tab.page.locator("model-viewer").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.page.mouse.move(*middle)
    tab.page.mouse.down()
    tab.page.mouse.move(middle[0] + 120, middle[1], steps=4)
    tab.page.mouse.up()
    tab.page.mouse.wheel(0, -400)
    still, now = None, tab.ask(EYES)
    while now != still:
        tab.ask(FRAMES)
        still, now = now, tab.ask(EYES)
    assert abs(now[0] - before[0]) > 0.2
    assert now[2:] != pytest.approx(before[2:], rel=0.02)
    return now


def test_a_run_s_page_lives_with_the_run_survives_a_reload_and_ends_with_the_object(
    tmp_path: Path, browser: Any
) -> None:
    run = ball(tmp_path, steps=40)
    with served(run) as address:
        tab = Tab(browser, 1000, 720)
        tab.page.goto(address)
        tab.until("document.getElementById('status')?.textContent === 'started'")
        assert TOKEN not in tab.page.url
        with stepping(run) as take:
            take(2)
            tab.until("document.getElementById('status').textContent === 'running'")
            tab.until("document.getElementById('numbers').textContent.includes('2 of 40')")
            # The checkpoint that the page asked for comes with the next step, then its picture and its mesh.
            wait(lambda: (run.path / ".checkpoint-wanted").exists())
            take(2)
            first = tab.until("document.getElementById('image').naturalWidth && document.getElementById('image').src")
            tab.until(DRAWN)
            mesh = tab.ask("document.getElementById('object').src")
            eyes = looked_at_closely(tab)
            take(16)
            tab.until("document.getElementById('numbers').textContent.includes('20 of 40')")
            wait(lambda: (run.path / ".checkpoint-wanted").exists())
            take(2)
            tab.until(f"document.getElementById('image').src !== {first!r}")
            tab.until(f"document.getElementById('object').src !== {mesh!r} && {DRAWN}")
            *place, fov = tab.ask(EYES)
            assert place == pytest.approx(eyes[:3], rel=0.02)
            # What is kept is how large the object is shown; framed anew, it would be 30.
            assert fov == pytest.approx(eyes[3], rel=0.1)
            tab.picture("live-running-test")
            curve = tab.ask("document.getElementById('line').getAttribute('points').split(' ').length")
            assert curve >= 20
            tab.page.reload()
            tab.until("document.getElementById('numbers')?.textContent.includes('22 of 40')")
            assert tab.ask("document.getElementById('line').getAttribute('points').split(' ').length") >= curve
            tab.until(DRAWN)
            take(18)
        run.finish()
        tab.until("document.getElementById('status').textContent === 'finished'")
        tab.until("document.getElementById('object').src === '/files/object.glb'")
        tab.until(DRAWN)
        assert "object.html" in tab.text("files")
        shown = tab.picture("live-finished-test")
        assert 0.03 < reddish(shown) < 0.8
        assert reddish(tab.stage()) > 0.05
        here = address.partition("?")[0]
        assert [url for url in tab.requests if not url.startswith((here, "data:", "blob:"))] == []
        assert tab.complaints == []
        tab.page.close()


@contextmanager
def stepping(run: Run) -> Iterator[Callable[[int], None]]:
    """Give what takes so many steps of a run, and leave it at the end."""
    steps = run.steps()

    def take(count: int) -> None:
        for _ in range(count):
            next(steps)

    yield take
    for _ in steps:
        pass


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    assert condition()


def test_a_prompt_is_text_in_a_run_s_page(tmp_path: Path, browser: Any) -> None:
    prompt = " ".join(PAYLOADS)
    run = ball(tmp_path, steps=1, prompt=prompt)
    (run.path / "<img src=x onerror=window.pwned=1>.png").write_bytes(b"x")
    with served(run) as address:
        tab = Tab(browser)
        tab.page.goto(address)
        tab.until("document.getElementById('prompt')?.textContent.length > 1")
        tab.until("document.getElementById('files').textContent.includes('onerror')")
        assert tab.text("prompt") == prompt
        assert tab.ask("typeof window.pwned") == "undefined"
        assert tab.complaints == []
        tab.page.close()


def test_a_page_of_another_port_gets_nothing_out_of_a_run_s_page(finished: Run, browser: Any) -> None:
    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<!DOCTYPE html><title>evil</title>"
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    evil = HTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    try:
        with served(finished) as address:
            context = browser.new_context()
            page = context.new_page()
            page.goto(address)  # The cookie is now in this browser.
            page.wait_for_url(address.partition("?")[0])
            page.goto(f"http://127.0.0.1:{evil.server_port}/")
            target = address.partition("?")[0]
            for mode in ("cors", "no-cors"):
                got = page.evaluate(
                    "async ([url, mode]) => { try { const answer = await fetch(url, {mode, credentials: 'include'});"
                    " return answer.type + (await answer.text()).length; } catch (error) { return 'refused'; } }",
                    [f"{target}live.js", mode],
                )
                assert got == "refused"
            stream = page.evaluate(
                "url => new Promise(done => { const source = new EventSource(url, {withCredentials: true});"
                " source.onopen = () => done('open'); source.onerror = () => done('refused'); })",
                f"{target}events",
            )
            assert stream == "refused"
            framed = page.evaluate(
                "url => new Promise(done => { const image = new Image(); image.onload = () => done('loaded');"
                " image.onerror = () => done('refused'); image.src = url; document.body.append(image); })",
                f"{target}files/contact_sheet.png",
            )
            assert framed == "refused"
            context.close()
    finally:
        evil.shutdown()
        evil.server_close()
