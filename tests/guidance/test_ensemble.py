"""The line of text that names the guides: how it is parsed, and the errors of one that cannot be."""

import json
from pathlib import Path

import pytest

from dreamfields.errors import UsageError
from dreamfields.guidance.ensemble import Member, check_readable, label, parse_members
from dreamfields.guidance.settings import GuidanceSettings


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("lit", (Member("lit"),)),
        ("toy:2", (Member("toy", weight=2.0),)),
        ("clip:/models/b16", (Member("clip", "/models/b16"),)),
        ("clip:openai/clip-vit-base-patch16", (Member("clip", "openai/clip-vit-base-patch16"),)),
        ("clip:/a/b:0.5", (Member("clip", "/a/b", 0.5),)),
        ("lit:2+clip:/b:1@0.3", (Member("lit", weight=2.0), Member("clip", "/b", 1.0, 0.3))),
        ("lit+clip:x@.25", (Member("lit"), Member("clip", "x", 1.0, 0.25))),
        ("clip:a+clip:b+toy", (Member("clip", "a"), Member("clip", "b"), Member("toy"))),
        ("clip:/a+b/c:d e", (Member("clip", "/a+b/c:d e"),)),
        ("clip:C:/models", (Member("clip", "C:/models"),)),
        ("clip:/v:2/", (Member("clip", "/v:2/"),)),
        ("lit:1e2", (Member("lit", weight=100.0),)),
    ],
)
def test_a_line_names_its_members(text: str, members: tuple[Member, ...]) -> None:
    assert parse_members(text) == members
    settings = GuidanceSettings(name=text)
    assert GuidanceSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no guidance called ''"),
        ("lot", "no guidance called 'lot'; it must be lit, toy or clip:FOLDER-OR-ID"),
        ("clip", "no guidance called 'clip'; it must be lit, toy or clip:FOLDER-OR-ID"),
        ("clip:", "no guidance called 'clip:'"),
        ("lit+", "no guidance called 'lit+'"),
        ("lit:", "no guidance called 'lit:'"),
        ("lit:heavy", "no guidance called 'lit:heavy'"),
        ("openai/clip-vit-base-patch16", "no guidance called 'openai/clip-vit-base-patch16'"),
        ("lit:0", "the weight of 'lit:0' is 0; it must be from 0.001 to 1,000"),
        ("lit:1.2.3", "the weight of 'lit:1.2.3' is 1.2.3; it must be from 0.001 to 1,000"),
        ("lit+toy@1.5", "the start of 'toy@1.5' is 1.5; it must be from 0 to 0.99"),
        ("lit@0.5+toy@0.2", "one of its models must start at 0"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        GuidanceSettings(name=text)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_label_keeps_ids_whole_and_of_folders_the_last_part_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner" / "mine").mkdir(parents=True)
    assert label("lit:2+clip:/home/me/secret/b16:3@0.5") == "lit+clip:b16"
    assert label("clip:openai/clip-vit-base-patch16:2") == "clip:openai/clip-vit-base-patch16"
    monkeypatch.chdir(tmp_path)
    assert label("clip:inner/mine") == "clip:mine"


def test_a_text_is_refused_where_no_word_of_it_can_be_read() -> None:
    lit = GuidanceSettings(name="lit")
    check_readable(lit, [("the prompt", "a 茶壶"), ("style", "")])
    with pytest.raises(UsageError, match="lit can read no word of style, '- 茶壶 🫖'; it reads English"):
        check_readable(lit, [("the prompt", "a teapot"), ("style", "- 茶壶 🫖")])
    with pytest.raises(UsageError, match="lit can read no word"):  # Each member must read it.
        check_readable(GuidanceSettings(name="toy+lit@0.5"), [("the prompt", "茶壶")])
    check_readable(GuidanceSettings(name="toy"), [("the prompt", "茶壶")])
