"""Sets on disk: both layouts give the same, and what cannot be used is refused with its place."""

import json
from pathlib import Path

import pytest

from dreamfields.errors import UsageError
from dreamfields.train.pairs import Pair, read_pairs
from tests.support.sets import picture, png, write_set


@pytest.mark.parametrize("zipped", [True, False])
def test_a_folder_gives_pictures_texts_and_splits(tmp_path: Path, zipped: bool) -> None:
    found = read_pairs(str(write_set(tmp_path / "shapes", zipped=zipped, heldout=2)))
    assert found.name == "shapes"
    assert [pair.split for pair in found.pairs] == ["train"] * 10 + ["heldout"] * 2
    assert found.pairs[0] == Pair("red-disc.png", ("a red disc", "a photo of a red disc"))
    chosen = [found.pairs[3], found.pairs[0]]
    pictures = list(found.pictures(chosen))
    assert [image.getpixel((24, 24)) for image in pictures] == [(0, 128, 0), (255, 0, 0)]


def test_coco_captions_are_grouped_by_picture(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "7.png").write_bytes(png(picture("red", "disc")))
    content = {
        "images": [{"id": 7, "file_name": "7.png"}, {"id": 8, "file_name": "8.png"}],
        "annotations": [{"image_id": 7, "caption": "A red\n disc."}, {"image_id": 7, "caption": "Red."}],
    }
    (tmp_path / "captions.json").write_text(json.dumps(content))
    found = read_pairs(f"{tmp_path}/captions.json:{tmp_path}/val")
    assert found.pairs == (Pair("7.png", ("A red disc.", "Red.")),)
    assert next(found.pictures(found.pairs)).size == (48, 48)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '{"image": "a.png"}',
        '{"image": "a.png", "texts": []}',
        '{"image": "a.png", "texts": [" "]}',
        '{"image": 3, "texts": ["a"]}',
        '{"image": "a.png", "texts": ["a"], "split": "test"}',
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str) -> None:
    folder = write_set(tmp_path / "shapes")
    with (folder / "pairs.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UsageError, match=r"line 13 of .*pairs\.jsonl"):
        read_pairs(str(folder))


def test_what_is_no_set_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no pairs\.jsonl"):
        read_pairs(str(tmp_path))
    folder = write_set(tmp_path / "shapes")
    (folder / "images.zip").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="not a zip file"):
        read_pairs(str(folder))
    (folder / "images.zip").unlink()
    with pytest.raises(UsageError, match="no pictures"):
        read_pairs(str(folder))
    with pytest.raises(UsageError, match="no folder"):
        read_pairs(f"{tmp_path}/captions.json:{tmp_path}/none")
    (tmp_path / "captions.json").write_text('{"images": [], "annotations": [{}]}')
    with pytest.raises(UsageError, match="as COCO captions"):
        read_pairs(f"{tmp_path}/captions.json:{tmp_path}")


def test_a_picture_that_is_missing_or_broken_or_outside_is_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "shapes", zipped=False)
    (folder / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    found = read_pairs(str(folder))
    for name in ("none.png", "broken.png", "../pairs.jsonl"):
        with pytest.raises(UsageError, match=name.replace(".", r"\.")):
            list(found.pictures([Pair(name, ("x",))]))
