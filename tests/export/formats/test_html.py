"""The one-file page: it holds the mesh, shows what it is told as text, and lets nothing out and nothing else run."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.api import start
from dreamfields.export.formats.html import html_bytes
from dreamfields.export.viewer import library_text
from tests.support.toys import tiny_config, with_steps

GLB = b"glTF\x02\x00\x00\x00" + bytes(range(256))
FACTS: dict[str, str | int | float] = {
    "prompt": "a red ball",
    "seed": 7,
    "guidance": "toy",
    "steps": 12,
    "generator": "dreamfields 0",
}
HOSTILE = '</title></script><script>alert(1)</script><img src=x onerror="alert(2)">&amp;\'" ]]> --> $library ${glb}'


class Page(HTMLParser):
    """The tags and attributes of a page, and the text that follows each start tag up to the next tag."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.within = ""
        # A megabyte of library takes a parser long and can hold no tag, as a test below makes sure.
        self.feed(content.decode().replace(library_text(), "LIBRARY"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        self.within = tag

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within:
            self.texts[self.within][-1] += data

    def attributes(self, tag: str) -> dict[str, str | None]:
        (found,) = [attributes for name, attributes in self.tags if name == tag]
        return found


def policy(page: Page) -> str:
    (found,) = [entry["content"] for tag, entry in page.tags if tag == "meta" and "http-equiv" in entry]
    return found or ""


def test_the_page_holds_the_mesh_and_says_what_it_is() -> None:
    page = Page(html_bytes(GLB, FACTS, {"recipe": {"steps": 12}}))
    source = page.attributes("model-viewer")["src"] or ""
    assert source.startswith("data:model/gltf-binary;base64,")
    assert base64.b64decode(source.partition(",")[2]) == GLB
    assert page.texts["h1"] == ["a red ball"]
    assert dict(zip(page.texts["dt"], page.texts["dd"], strict=True)) == {
        "seed": "7",
        "guidance": "toy",
        "steps": "12",
        "generator": "dreamfields 0",
    }
    assert '"steps": 12' in page.texts["pre"][0]
    assert {"ar", "camera-controls"} <= page.attributes("model-viewer").keys()


@given(st.text() | st.just(HOSTILE))
def test_a_prompt_is_text_wherever_it_stands(prompt: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in prompt) or "\r" in prompt or "\0" in prompt:
        return  # No prompt holds these.
    plain = Page(html_bytes(GLB, FACTS, {}))
    page = Page(html_bytes(GLB, FACTS | {"prompt": prompt, "guidance": prompt, "generator": prompt}, {prompt: prompt}))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert [entry.keys() for _, entry in page.tags] == [entry.keys() for _, entry in plain.tags]
    assert (page.texts["h1"], page.attributes("model-viewer")["alt"]) == ([prompt], prompt)
    assert page.texts["script"] == plain.texts["script"]


def test_the_policy_lets_only_the_page_s_own_scripts_run_and_nothing_out() -> None:
    page = Page(html_bytes(GLB, FACTS | {"prompt": HOSTILE}, {}))
    allowed = policy(page)
    scripts = [text.replace("LIBRARY", library_text()).encode() for text in page.texts["script"]]
    digests = {base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts}
    assert len(digests) == 2
    assert set(re.findall(r"'sha256-([^']+)'", allowed)) == digests
    assert allowed.startswith("default-src 'none';")
    assert "http" not in allowed
    assert "*" not in allowed
    (of_scripts,) = [part for part in allowed.split(";") if "script-src" in part]
    assert "'unsafe-inline'" not in of_scripts


def test_nothing_on_the_page_names_another_file_or_host() -> None:
    page = Page(html_bytes(GLB, FACTS, {}))
    linked = [
        entry[name] or "" for _, entry in page.tags for name in ("src", "href", "poster", "data") if name in entry
    ]
    assert linked
    assert all(link.startswith("data:") for link in linked)
    assert "@import" not in page.texts["style"][0]
    assert "url(" not in page.texts["style"][0]


def test_the_library_can_stand_within_a_page() -> None:
    text = library_text()
    assert not re.search(r"</?script", text, re.IGNORECASE)
    assert "sourceMappingURL" not in text
    assert len(text) > 1_000_000


def test_the_vendored_viewer_is_the_published_file_and_comes_with_its_licence() -> None:
    data = resources.files("dreamfields.export").joinpath("data")
    content = data.joinpath("model-viewer.min.js").read_bytes()
    # sha256 of dist/model-viewer.min.js in @google/model-viewer 4.4.0.
    assert hashlib.sha256(content).hexdigest() == "18b2e711035aa4705ee281530a55dc2338ff05eed3d70ae16d54105282a75ed5"
    assert "Apache License" in data.joinpath("model-viewer.LICENSE.txt").read_text()
    assert "4.4.0" in data.joinpath("model-viewer.NOTICE.txt").read_text()
    assert "Apache License 2.0" in html_bytes(GLB, FACTS, {}).decode()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = start(tiny_config(with_steps(2)), tmp_path_factory.mktemp("runs"))
    for _ in run.steps():
        pass
    assert run.path / "object.html" in run.finish()
    run.export(run.path / "again.html")
    return run.path


def test_every_run_gets_a_page_of_its_mesh(finished: Path) -> None:
    page = Page((finished / "object.html").read_bytes())
    source = page.attributes("model-viewer")["src"] or ""
    assert base64.b64decode(source.partition(",")[2]) == (finished / "object.glb").read_bytes()
    assert '"coarsest_cells": 2' in page.texts["pre"][0]


def test_the_page_made_later_is_the_same(finished: Path) -> None:
    assert (finished / "again.html").read_bytes() == (finished / "object.html").read_bytes()
