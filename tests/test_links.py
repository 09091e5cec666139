"""Pages point to what is there, and nothing large lies in the tree; each check is proven able to fail."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.architecture import ROOT

LARGEST = 1_000_000
"""Bytes of a file that is neither weights nor somebody else's program."""
MAY_BE_LARGE = ("*.safetensors", "model-viewer.min.js")
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "benchmarks/results/*.md", "src/**/MODEL_CARD.md")
FOLDERS = ("src", "tests", "docs", "benchmarks", "examples", "scripts", ".ci")
"""Where what is in the tree lies; around them a build or a run may leave more."""

CODE = re.compile(r"^( *)(```|~~~).*?^\1\2|`[^`\n]+`", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"\]\(<?([^)\s>]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
HEADING = re.compile(r"^#{1,6} +(.*?)(?: +#+)? *$", re.MULTILINE)


def tree(root: Path) -> set[Path]:
    """Return the files of a checkout, those to be added included; without git, those of the folders people write in."""
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, text=True, env=without_git(), check=False)
        if listed.returncode == 0:  # Of somebody else's checkout git says nothing.
            return {path for name in listed.stdout.split("\0") if name and (path := root / name).is_file()}
    found = [path for path in root.iterdir() if path.is_file()]
    found += [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file()]
    return {path for path in found if "__pycache__" not in path.parts}


def without_git() -> dict[str, str]:
    """Return the environment without what a hook of git says of another checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def broken_links(page: Path, files: Iterable[Path]) -> Iterator[str]:
    """Yield a sentence for each relative link of a page whose file, folder or heading is not in the tree."""
    there = {place for path in files for place in (path, *path.parents)}
    for groups in TARGET.findall(CODE.sub("", page.read_text("utf-8"))):
        link = next(filter(None, groups))
        if ELSEWHERE.match(link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = Path(os.path.normpath(page.parent / name)) if name else page
        if target not in there:
            yield f"{page.name} links to {link}, which is not in the tree"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text("utf-8")):
            yield f"{page.name} links to {link}; there is no such heading"


def anchors(text: str) -> set[str]:
    """Return what the headings of a page are called in links to them."""
    names: Counter[str] = Counter()
    without_code = re.sub(r"^( *)(```|~~~).*?^\1\2", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in HEADING.findall(without_code):
        said = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", said.lower()).replace(" ", "-")
        names[name] += 1
    return {f"{name}-{number}" if number else name for name, count in names.items() for number in range(count)}


def large_files(files: Iterable[Path]) -> Iterator[str]:
    """Yield a sentence for each file that is too large to lie in the tree."""
    for path in sorted(files):
        if path.stat().st_size > LARGEST and not any(path.match(pattern) for pattern in MAY_BE_LARGE):
            yield f"{path.name} has {path.stat().st_size:,} bytes; the most is {LARGEST:,}"


def test_links_point_to_what_is_there() -> None:
    files = tree(ROOT)
    pages = sorted({page for pattern in PAGES for page in ROOT.glob(pattern)} & files)
    assert len(pages) > 20
    faults = [fault for page in pages for fault in broken_links(page, files)]
    assert not faults, "\n".join(faults)


def test_nothing_large_lies_in_the_tree() -> None:
    files = tree(ROOT)
    assert Path(__file__).resolve() in files
    faults = list(large_files(files))
    assert not faults, "\n".join(faults)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A page in a folder, and one beside it with two headings of one name."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text(
        "# A `b`, *c* [d](e)\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n"
    )
    (tmp_path / "docs" / "a picture.webp").touch()
    return tmp_path


@pytest.mark.parametrize(
    "link",
    [
        "![x](missing.webp)",
        "[over\ntwo lines](missing.md)",
        "[x](../docs/missing.md#twice)",
        "[![x](docs/a%20picture.webp)](missing.md)",
        "[x](/docs/other.md)",
        "[x](docs/missing.md 'a title')",
        "[x]: missing.md",
        '<img src="missing.png">',
        "[x](docs/other.md#thrice)",
        "[x](docs/other.md#no-heading)",
        "[x](#nothing)",
        "[x](docs/ignored.md)",
    ],
)
def test_a_broken_link_is_found(site: Path, link: str) -> None:
    files = tree(site)
    (site / "docs" / "ignored.md").touch()  # There, but not in the tree.
    page = site / "README.md"
    page.write_text(f"# Here\n\n{link}\n")
    assert len(list(broken_links(page, {*files, page}))) == 1


def test_whole_links_links_elsewhere_and_code_are_no_faults(site: Path) -> None:
    page = site / "README.md"
    page.write_text(
        "# Here\n\n[a](docs) [b](docs/other.md#a-b-c-d) [c](docs/other.md#twice-1) ![d](docs/a%20picture.webp 'it')\n"
        "[e](https://example.org/x) [f](mailto:a@example.org) [g](#here) `[h](nothing)`\n\n```\nx[0](nothing)\n```\n"
    )
    assert not list(broken_links(page, tree(site)))


def test_a_large_file_is_found_unless_it_is_weights(tmp_path: Path) -> None:
    for name, size in (("a.png", LARGEST + 1), ("b.png", LARGEST), ("c.safetensors", LARGEST + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    assert list(large_files(tree(tmp_path))) == ["a.png has 1,000,001 bytes; the most is 1,000,000"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_checkout_is_what_git_would_add(tmp_path: Path) -> None:
    for name in ("kept.md", "ignored.md"):
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    assert {path.name for path in tree(tmp_path)} == {".gitignore", "kept.md", "ignored.md"}
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, env=without_git())
    assert {path.name for path in tree(tmp_path)} == {".gitignore", "kept.md"}
