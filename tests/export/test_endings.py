"""Endings: in every text and table that lists them they are those of the tables of formats."""

import re
from pathlib import Path

import pytest

from dreamfields.cli.export import Export
from dreamfields.cli.options import list_options
from dreamfields.cli.render import Render
from dreamfields.cli.video import Video
from dreamfields.errors import UsageError
from dreamfields.export.endings import known_ending
from dreamfields.export.formats.table import FORMATS, PRINT_MM
from dreamfields.export.pictures.table import PICTURES, VIDEOS
from dreamfields.studio import serve
from dreamfields.studio.watcher import SERVED_SUFFIXES
from tests.support.architecture import ROOT

EXPORT_PAGE = (ROOT / "docs" / "export.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
COMPANIONS = [ending for known in FORMATS.values() for ending in known.companions]


def endings(text: str) -> list[str]:
    """Return the endings that a text names, in their order."""
    return re.findall(r"(?<![\w/])\.[0-9]?[a-z]+[0-9]?\b", text)


def help_of(command: type[Export | Render | Video], flag: str) -> str:
    """Return what the help says of a flag."""
    return next(option.text for option in list_options(command) if option.name == flag)


def section(heading: str) -> str:
    """Return the part of the page on exports under a heading."""
    return EXPORT_PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("text", "table"),
    [
        (help_of(Export, "--out").partition("RUN/")[0], FORMATS),
        (help_of(Render, "--out").partition("RUN/")[0], PICTURES),
        (help_of(Video, "--out").partition("RUN/")[0], VIDEOS),
        (re.findall(r"dreamfields export .*# (\..*)", EXPORT_PAGE)[0], FORMATS),
        (re.findall(r"dreamfields export .*# (\..*)", README)[0], FORMATS),
        (re.findall(r"dreamfields video .*# (\..*)", EXPORT_PAGE)[0], VIDEOS),
        (re.findall(r"dreamfields video .*as (\..*)", README)[0], VIDEOS),
        (re.findall(r"dreamfields render .*# (\..*)", EXPORT_PAGE)[0], PICTURES),
    ],
    ids=["export", "render", "video", "docs export", "README export", "docs video", "README video", "docs render"],
)
def test_a_text_lists_the_endings_of_its_table(text: str, table: dict[str, object]) -> None:
    assert endings(text) == list(table)


def test_the_page_has_a_row_for_each_format_with_its_companions_and_its_size() -> None:
    rows = [row.split("|")[1:-1] for row in section("Formats").splitlines() if row.startswith("| `.")]
    named = [endings(row[0]) for row in rows]
    assert named == [[ending, *known.companions] for ending, known in FORMATS.items()]
    sizes = [f"{known.size_mm:g} mm" if known.size_mm else "none" for known in FORMATS.values()]
    assert [row[-1].strip() for row in rows] == sizes


def test_the_page_says_which_pictures_carry_what() -> None:
    rows = [row.split("|")[1:-1] for row in section("Pictures").splitlines() if row.startswith("| `.")]
    found = {ending: (row[1].strip(), row[2].strip()) for row in rows for ending in endings(row[0])}
    assert found == {ending: (known.facts, "yes" if known.has_alpha else "no") for ending, known in PICTURES.items()}


def test_the_help_of_a_size_names_the_formats_that_have_one() -> None:
    text = help_of(Export, "--size-mm")
    placed, printed = text.split(" and ")[:2]
    sized = {ending: known.size_mm for ending, known in FORMATS.items() if known.size_mm}
    assert set(endings(printed)) == {ending for ending, size in sized.items() if size == PRINT_MM}
    assert set(endings(placed)) == sized.keys() - set(endings(printed))
    assert [f"{size:g}" for size in sorted(set(sized.values()))] == re.findall(r"\d+(?= for)", text)[::-1]


def test_the_live_page_serves_every_format_and_shows_pictures_videos_and_meshes() -> None:
    assert {*FORMATS, *COMPANIONS, *PICTURES, *VIDEOS} == SERVED_SUFFIXES
    videos = {str(ending): media_type for ending, media_type in VIDEOS.items()}
    pictures = {ending: known.media_type for ending, known in PICTURES.items()}
    assert {**pictures, **videos, ".glb": "model/gltf-binary"} == serve._MEDIA_TYPES


@pytest.mark.parametrize(
    ("given", "near"),
    [(".glp", ".glb"), (".htm", ".html"), (".GLTF", ".glb"), (".usd", ".usdz"), (".fbx", None), (".zip", None)],
)
def test_an_unknown_ending_gets_the_whole_list_and_the_nearest_where_one_is_near(given: str, near: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        known_ending(Path(f"a{given}"), FORMATS, "mesh format")
    hint = f"did you mean '{near}'? " if near else ""
    assert str(raised.value) == f"there is no mesh format called '{given}'; {hint}known: {', '.join(FORMATS)}"


@pytest.mark.parametrize("name", ["object", ".glb", "a.b/object"])
def test_a_file_without_an_ending_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"has no ending, which says the mesh format; give it one of \.glb, \.obj"):
        known_ending(Path(name), FORMATS, "mesh format")
