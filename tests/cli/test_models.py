"""Models by the command line: what is missing is said at once, and a run keeps to the files it began with."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from dreamfields import api
from dreamfields.cli import doctor, models
from dreamfields.cli.main import main
from dreamfields.errors import MissingPackageError
from dreamfields.guidance.clip import hub
from dreamfields.runs.checkpoint import manifests
from tests.cli.test_cli import TINY_OPTIONS, no_heavy_packages, run_light
from tests.support.clips import make_folder
from tests.support.toys import PROMPT, sha256_of

__all__ = ["no_heavy_packages"]  # A fixture that is shared.

ID = "openai/clip-vit-base-patch16"
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a cache and a record of its own, in this process and below."""
    monkeypatch.setenv("DREAMFIELDS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def snapshot(model: Path) -> Path:
    """A model in the cache, under a name of the hub."""
    repository = Path(constants.HF_HUB_CACHE) / f"models--{ID.replace('/', '--')}"
    shutil.copytree(model, repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    return repository / "snapshots" / REVISION


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("clip:FOLDER/missing", 3, "there is no folder "),
        ("clip:FOLDER", 3, "holds no model (no config.json)"),
        ("clip:FOLDER/pickled", 3, "a pickle, which could run code when it is read"),
        ("clip:FOLDER/bert", 2, "a model of type 'bert', which cannot guide"),
        (f"toy+clip:{ID}@0.5", 3, f"run: dreamfields models download {ID}"),
    ],
)
def test_a_model_that_cannot_guide_is_one_sentence_before_anything_heavy(
    no_heavy_packages: Path, tmp_path: Path, name: str, code: int, said: str
) -> None:
    for kind, folder in (("clip", tmp_path / "pickled"), ("bert", tmp_path / "bert")):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        (folder / "pytorch_model.bin").write_bytes(b"")
    name = name.replace("FOLDER", str(tmp_path))
    done = run_light(no_heavy_packages, "generate", PROMPT, "--out", str(tmp_path / "runs"), "--guidance.name", name)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    (sentence,) = done.stderr.splitlines()
    assert said in sentence
    assert not (tmp_path / "runs").exists()


def test_an_unreachable_hub_is_one_sentence_and_exit_3_before_anything_heavy(
    no_heavy_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = run_light(no_heavy_packages, "models", "download", ID)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    (sentence,) = done.stderr.splitlines()
    assert f"cannot download {ID}: http://127.0.0.1:9 cannot be reached" in sentence


def test_models_are_listed_with_what_is_here(
    no_heavy_packages: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert snapshot.is_dir()
    done = run_light(no_heavy_packages, "models", "list")
    assert (done.returncode, done.stderr) == (0, "")
    for model_id in hub.KNOWN:
        assert model_id in done.stdout
    assert REVISION[:8] in done.stdout
    assert models.present() == [ID]
    assert ID in doctor.clip_models().verdict
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out.count("no ") >= len(hub.KNOWN) - 1


def test_models_are_verified_one_by_one(snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify"]) == 0
    assert capsys.readouterr().out == f"{ID}: 5 files, all as recorded\n"
    (snapshot / "config.json").write_bytes((snapshot / "config.json").read_bytes() + b" ")
    assert main(["models", "verify", ID]) == 3
    assert f"{ID}: config.json of {ID} is not the file that was recorded" in capsys.readouterr().out


def test_verifying_where_there_is_nothing_says_how_to_get_something(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify"]) == 3
    assert "get one with: dreamfields models download ID" in capsys.readouterr().err
    assert doctor.clip_models().well


def test_a_download_says_where_it_went_and_how_to_use_it(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "download", lambda model_id, revision: hub.Located(model_id, snapshot, REVISION))
    assert main(["models", "download", ID, "--revision", "v1"]) == 0
    shown = capsys.readouterr().out
    assert f"{ID}, revision {REVISION}" in shown
    assert f"--guidance clip:{ID}" in shown


def generate(out: Path, name: str, *options: str, prompt: str = PROMPT) -> int:
    options = (*TINY_OPTIONS, "--guidance.name", name, "--optimize.checkpoint-every", "2", *options)
    return main(["generate", prompt, "--out", str(out), "--steps", "3", *options])


def recorded(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def final_files(folder: Path) -> list[str]:
    newest = manifests(folder / "checkpoints")[0]
    return [sha256_of(path) for path in (newest, newest.with_suffix(".safetensors"), folder / "metrics.jsonl")]


def test_a_run_guided_by_a_folder_records_it_and_ends_in_the_same_bytes_when_it_is_stopped(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"toy+clip:{model}:2@0.3"
    assert generate(tmp_path / "whole", name) == 0
    whole = tmp_path / "whole" / "a-red-ball-0"
    record = recorded(whole)
    assert record["config"]["recipe"]["guidance"]["name"] == name
    assert record["guidance"] == ["toy", "clip:tiny"]
    assert (record["weights"][0], len(record["weights"][1])) == ("", 64)
    assert record["notes"] == []
    assert "toy+clip:tiny guidance on cpu" in capsys.readouterr().out
    # What leaves the folder does not tell where the model was.
    assert str(model).encode() not in (whole / "object.glb").read_bytes()

    stopped = api.start(api.load(whole).config, tmp_path / "stopped")
    steps = stopped.steps()
    next(steps)
    steps.close()
    assert main(["resume", str(stopped.path)]) == 0
    assert final_files(stopped.path) == final_files(whole)


def test_a_run_goes_on_with_the_files_it_began_with_only(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(model, tmp_path / "mine")
    assert generate(tmp_path, f"clip:{mine}") == 0
    run = api.load(tmp_path / "a-red-ball-0")
    again = api.start(run.config, tmp_path / "again")
    steps = again.steps()
    next(steps)
    steps.close()
    shutil.rmtree(mine)
    make_folder(mine, seed=1)
    with pytest.raises(MissingPackageError, match=r"the files of clip:mine are not those that .* began with"):
        next(api.load(again.path).steps())
    assert main(["resume", str(again.path)]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_words_that_a_model_cannot_read_are_said_and_recorded(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "a red ball on a big wooden table on the green teapot"
    assert generate(tmp_path, f"clip:{model}", prompt=long) == 0
    (folder,) = tmp_path.glob("a-red-ball-*")
    # Ten words fit, three of which are of the template.
    note = 'clip:tiny cannot read the whole prompt; dropped: "table on the green teapot"'
    assert f"note: {note}\n" in capsys.readouterr().out
    assert recorded(folder)["notes"] == [note]
