"""`dreamfields lit` from end to end, on a dozen pictures; the text tower is replaced by a quick one."""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from dreamfields.cli.main import main
from dreamfields.cli.terminal import say_table
from dreamfields.guidance.lit.adapters import read_adapters
from dreamfields.guidance.lit.towers import Tower
from dreamfields.train import measure as retrieval
from dreamfields.train import training
from dreamfields.train.features import TOWERS, picture_features, sentence_embeddings
from dreamfields.train.fit import TrainingData
from dreamfields.train.negatives import hard_negatives
from dreamfields.train.pairs import read_pairs
from dreamfields.train.recall import RANKS
from dreamfields.train.settings import TuningSettings
from dreamfields.train.training import choose, gather, read_descriptions
from tests.support.sets import write_set


class QuickEncoder:
    """Sentences as sums of fixed random vectors, one a word."""

    calls = 0

    def encode(self, sentences: Sequence[str]) -> Tensor:
        type(self).calls += len(sentences)
        return torch.stack([torch.stack([_word(word) for word in text.split()]).sum(dim=0) for text in sentences])


def _word(word: str) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return torch.randn(384, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SentenceEncoder", QuickEncoder)
    monkeypatch.setattr(retrieval, "SentenceEncoder", QuickEncoder)
    monkeypatch.setattr(training, "class_names", lambda: tuple(f"thing {index}" for index in range(1000)))
    QuickEncoder.calls = 0


QUICK = ["--tower", "lite0", "--epochs", "3", "--batch", "4", "--validation", "0.4"]
QUICK += ["--network.hidden", "8", "--network.space", "8"]


def test_training_writes_adapters_that_can_be_measured_and_the_second_time_looks_at_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_set(tmp_path / "shapes", heldout=2)
    first, second, cache = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "cache"
    assert main(["lit", "train", str(folder), "--out", str(first), "--cache", str(cache), *QUICK]) == 0
    output = capsys.readouterr().out
    assert "s left" in output
    assert f"sha256 {hashlib.sha256(first.read_bytes()).hexdigest()}" in output
    adapters = read_adapters(first)
    assert adapters.tower == "lite0"
    assert QuickEncoder.calls > 0

    QuickEncoder.calls = 0
    monkeypatch.setattr(Tower, "levels", None)  # Whoever looks now fails.
    for trained in cache.glob("training-*"):
        trained.unlink()
    assert main(["lit", "train", str(folder), "--out", str(second), "--cache", str(cache), *QUICK]) == 0
    assert QuickEncoder.calls == 0
    assert first.read_bytes() == second.read_bytes()
    monkeypatch.undo()

    monkeypatch.setattr(retrieval, "SentenceEncoder", QuickEncoder)
    capsys.readouterr()
    assert main(["lit", "evaluate", str(folder), "--adapters", str(first), "--cache", str(cache)]) == 0
    output = capsys.readouterr().out
    assert "2 held-out images of shapes" in output
    assert "lite0" in output


def test_a_finished_training_writes_its_file_again_without_an_epoch_from_the_user_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    folder = write_set(tmp_path / "shapes")
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for out in (first, second):
        assert main(["lit", "train", str(folder), "--out", str(out), *QUICK]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert list((tmp_path / "caches" / "dreamfields" / "lit").glob("training-*"))
    assert not list(Path.cwd().iterdir())


def test_a_changed_picture_is_looked_at_again(tmp_path: Path) -> None:
    tower = Tower(TOWERS["lite0"])
    cache = tmp_path / "cache"

    def cached() -> list[bool]:
        pictures = read_pairs(str(write_set(tmp_path / "shapes")) if not (tmp_path / "shapes").exists() else shapes)
        return [chunk.cached for chunk in picture_features(pictures, pictures.pairs[:2], 0, tower, "fp32", cache)]

    shapes = str(tmp_path / "shapes")
    assert cached() == [False]
    assert cached() == [True]
    archive = tmp_path / "shapes" / "images.zip"
    os.utime(archive, (0, 0))
    assert cached() == [True]  # A copy of a set is the same set.
    with zipfile.ZipFile(archive) as before:
        contents = {name: before.read(name) for name in before.namelist()}
    first, second = list(contents)[:2]
    with zipfile.ZipFile(archive, "w") as after:
        for name, content in (contents | {first: contents[second]}).items():
            after.writestr(name, content)
    assert cached() == [False]
    for file in cache.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert cached() == [False]


def test_a_narrow_terminal_still_tells_the_names_of_an_ensemble(capsys: pytest.CaptureFixture[str]) -> None:
    headings = ["adapters", *(f"{way} R@{rank}" for way in ("text to image", "image to text") for rank in RANKS)]
    say_table(Console(width=80), "images", headings, [["lite0+lite2", *["0.250"] * 6]])
    assert "lite0+lite2" in capsys.readouterr().out


def test_sentences_come_back_in_the_order_given(tmp_path: Path) -> None:
    sentences = ["a b c d", "a", "b a", "c"]
    (chunk,) = sentence_embeddings(sentences, QuickEncoder(), tmp_path)  # type: ignore[arg-type]
    assert torch.equal(chunk.values, QuickEncoder().encode(sentences))


def test_a_number_takes_the_first_training_pictures_only(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "shapes", heldout=2)
    assert [len(chosen.pairs) for chosen in choose([str(folder), f"{folder}@3"])] == [10, 3]


def gathered(places: Sequence[str], cache: Path) -> TrainingData:
    """Run the gathering of sets to its end."""
    stages = gather(choose(places), [["a thing"]] * 1000, TuningSettings(tower="lite0", validation=0.4), cache)
    while True:
        try:
            next(stages)
        except StopIteration as end:
            data: TrainingData = end.value
            return data


def test_a_set_named_twice_is_there_twice_and_keeps_the_same_pictures_for_validation(tmp_path: Path) -> None:
    folder = str(write_set(tmp_path / "shapes"))
    data = gathered([folder, folder], tmp_path / "cache")
    assert torch.equal(*data.views.chunk(2, dim=1))
    assert torch.equal(*data.validation.chunk(2))
    assert 0 < int(data.validation.sum()) < len(data.validation)


def test_the_captions_of_a_picture_have_their_hard_negatives(tmp_path: Path) -> None:
    folder = str(write_set(tmp_path / "shapes"))
    data, (pictures,) = gathered([folder], tmp_path / "cache"), choose([folder])
    for pair, captions in zip(pictures.pairs, data.caption_ids.tolist(), strict=True):
        for text, caption in zip(pair.texts, captions, strict=True):
            indices = [index for index in data.negatives[caption].tolist() if index >= 0]
            assert torch.equal(data.sentences[indices], QuickEncoder().encode(hard_negatives(text)))


def test_descriptions_stand_beside_the_names_of_their_class(tmp_path: Path) -> None:
    names = [f"thing {index}" for index in range(1000)]
    assert [len(row) for row in read_descriptions(None)[:2]] == [3, 3]
    (tmp_path / "told.json").write_text(
        "{" + ", ".join(f'"{name}": ["{name} is one.", "Two."]' for name in names) + "}", "utf-8"
    )
    rows = read_descriptions(tmp_path / "told.json")
    assert rows[7][0] == "a thing 7"
    assert rows[7][3:] == ["thing 7 is one.", "Two."]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train"], "say on what data"),
        (["train", "FOLDER"], "say where to write"),
        (["train", "FOLDER", "--out", "FOLDER"], "is there already"),
        (["train", "none", "--out", "new"], "no pairs.jsonl"),
        (["train", "FOLDER", "--out", "new", "--descriptions", "none.json"], "cannot be read as sentences"),
        (["train", "FOLDER", "--out", "new", "--tower", "lite0", "--batch", "1"], "batch is 1; it must be from 2"),
        (["train", "FOLDER", "--out", "new", "--wight-decay", "1"], "did you mean --weight-decay"),
        (["train", "FOLDER", "--out", "new", "--network.space", "1"], "space is 1; it must be from 2"),
        (["evaluate", "FOLDER", "FOLDER"], "evaluate takes one folder"),
        (["evaluate", "FOLDER"], "no held-out pictures"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(write_set(tmp_path / "shapes"))
    code = main(["lit", *[folder if argument == "FOLDER" else argument for argument in arguments]])
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
