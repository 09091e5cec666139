"""Where models are found, and what is recorded of them."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from dreamfields.errors import MissingPackageError, StorageError, UsageError
from dreamfields.guidance.clip import download, hub
from dreamfields.guidance.clip.hub import digests, identity
from dreamfields.guidance.clip.model import load_clip
from dreamfields.guidance.ensemble import Member
from tests.support.clips import make_folder
from tests.support.toys import sha256_of

ID = "somebody/tiny-clip"
REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a cache and a record of its own."""
    monkeypatch.setenv("DREAMFIELDS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "tiny")


def put_into_cache(model: Path, revision: str = REVISION) -> Path:
    """Lay a model into the cache as the hub's own tools do, and return its snapshot."""
    repository = Path(constants.HF_HUB_CACHE) / f"models--{ID.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    shutil.copytree(model, snapshot)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    return snapshot


def test_a_folder_is_a_model_even_where_the_cache_has_one_of_its_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_into_cache(model)
    shutil.copytree(model, tmp_path / ID)
    monkeypatch.chdir(tmp_path)
    assert hub.locate(ID) == hub.Located(ID, Path(ID), None)
    shutil.rmtree(tmp_path / "somebody")
    assert hub.locate(ID).revision == REVISION


@pytest.mark.parametrize("model_id", ["/no/such/folder", "./missing", "~/no/such/folder", "a/b/c", "a b"])
def test_a_folder_that_is_not_there_is_a_sentence(model_id: str) -> None:
    with pytest.raises(MissingPackageError, match=f"there is no folder {model_id}"):
        hub.locate(model_id)


def test_a_model_that_is_not_here_is_a_sentence_at_once_with_both_remedies() -> None:
    began = time.perf_counter()
    with pytest.raises(MissingPackageError) as caught:
        hub.locate(ID)
    assert time.perf_counter() - began < 2.0
    assert f"run: dreamfields models download {ID}" in str(caught.value)
    assert "clip:/path/to/folder" in str(caught.value)


def test_a_model_of_which_the_cache_has_a_part_is_a_sentence_with_the_remedy(model: Path) -> None:
    (put_into_cache(model) / "model.safetensors").unlink()
    with pytest.raises(MissingPackageError, match=f"no model.safetensors.*dreamfields models download {ID}"):
        hub.locate(ID)


def test_a_model_is_recorded_at_first_use_and_compared_ever_after(model: Path) -> None:
    snapshot = put_into_cache(model)
    files = hub.checked_digests(hub.locate(ID))
    assert files == {path.name: sha256_of(path) for path in model.iterdir()}
    assert hub.read_records() == {ID: hub.Entry(REVISION, files)}
    assert hub.checked_digests(hub.locate(ID)) == files
    with (snapshot / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(MissingPackageError) as caught:
        load_clip(Member("clip", ID), "fp32")
    assert f"model.safetensors of {ID} is not the file that was recorded (sha256)" in str(caught.value)
    assert f"dreamfields models download {ID}" in str(caught.value)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "model-00001-of-00002.safetensors"])
def test_a_file_that_has_come_is_a_change_as_well(model: Path, name: str) -> None:
    snapshot = put_into_cache(model)
    hub.checked_digests(hub.locate(ID))
    (snapshot / name).touch()
    with pytest.raises(MissingPackageError, match="is not the file that was recorded"):
        hub.checked_digests(hub.locate(ID))


def test_a_file_that_is_never_read_is_no_change(model: Path) -> None:
    snapshot = put_into_cache(model)
    files = hub.checked_digests(hub.locate(ID))
    (snapshot / "README.md").write_text("a model")
    assert hub.checked_digests(hub.locate(ID)) == files


def test_the_recorded_revision_is_used_whatever_the_cache_holds_beside_it(model: Path) -> None:
    put_into_cache(model)
    hub.checked_digests(hub.locate(ID))
    put_into_cache(model, OTHER)
    assert hub.locate(ID).revision == REVISION


def test_a_home_that_cannot_be_written_to_does_not_stop_a_run(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DREAMFIELDS_HOME", str(tmp_path / "file" / "home"))
    put_into_cache(model)
    assert hub.checked_digests(hub.locate(ID)) == digests(model)


@pytest.mark.parametrize("content", ["{", "[]", '{"a/b": 3}', '{"a/b": {"revision": "x"}}'])
def test_a_damaged_record_is_a_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "models.json").write_text(content)
    with pytest.raises(StorageError, match=r"models\.json cannot be read .*; move it away"):
        hub.locate(ID)


def test_the_user_s_folder_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DREAMFIELDS_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert hub.home() == Path("/data/dreamfields")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert hub.home() == Path.home() / ".local/share/dreamfields"


def test_an_identity_is_of_all_files_and_their_names() -> None:
    files = {"a": "1", "b": "2"}
    assert identity(files) == identity({"b": "2", "a": "1"})
    assert len({identity(one) for one in (files, {"a": "2", "b": "1"}, {"a": "1"}, {"c": "1", "b": "2"})}) == 4


def test_offline_mode_is_respected_without_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    monkeypatch.setattr(download, "_get", None)
    monkeypatch.setattr(hub, "fetch", None)
    with pytest.raises(MissingPackageError, match="HF_HUB_OFFLINE is set"):
        hub.download(ID)


@pytest.mark.parametrize("model_id", ["/a/folder", "a b", "", "x/y/z", "https://huggingface.co/a/b"])
def test_only_an_id_can_be_downloaded(model_id: str) -> None:
    with pytest.raises(UsageError, match="is not the id of a model; it must be owner/name"):
        hub.download(model_id)


@pytest.fixture
def hub_with(model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Replace the hub by one with a single model at one revision; return the arguments it is called with."""

    def make(revision: str = REVISION, spoil: Callable[[Path], Any] = lambda _: None) -> dict[str, Any]:
        asked: dict[str, Any] = {}

        def fetch(model_id: str, at: str, patterns: Sequence[str], folder: Path) -> Path:
            asked.update(model_id=model_id, revision=at, patterns=patterns)
            snapshot = put_into_cache(model, revision)
            assert snapshot.is_relative_to(folder)
            spoil(snapshot)
            return snapshot

        monkeypatch.setattr(hub, "fetch_metadata", lambda model_id, revision: {})
        monkeypatch.setattr(hub, "fetch", fetch)
        return asked

    return make


def test_a_download_fetches_what_is_read_and_records_revision_and_digests(
    model: Path, hub_with: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    asked = hub_with()
    assert hub.download(ID, "v1").revision == REVISION
    assert (asked["model_id"], asked["revision"]) == (ID, "v1")
    assert not [pattern for pattern in asked["patterns"] if pattern.endswith((".bin", ".py", "*"))]
    kept = json.loads((tmp_path / "home" / "models.json").read_text())
    assert kept == {ID: {"revision": REVISION, "sha256": {path.name: sha256_of(path) for path in model.iterdir()}}}
    assert load_clip(Member("clip", ID), "fp32").name == f"clip:{ID}"


def test_a_newer_revision_takes_the_place_of_the_recorded_one(
    model: Path, hub_with: Callable[..., dict[str, Any]]
) -> None:
    put_into_cache(model)
    hub.checked_digests(hub.locate(ID))
    hub_with(OTHER)
    hub.download(ID)
    assert hub.locate(ID).revision == OTHER


def test_another_file_under_the_recorded_revision_is_refused(hub_with: Callable[..., dict[str, Any]]) -> None:
    hub.record(ID, hub.Entry(REVISION, {"model.safetensors": "0" * 64}))
    hub_with()
    with pytest.raises(MissingPackageError, match="is not the file that was recorded"):
        hub.download(ID)


def test_a_file_that_came_later_is_accepted_by_downloading_again(hub_with: Callable[..., dict[str, Any]]) -> None:
    hub_with()
    snapshot = hub.download(ID).folder
    (snapshot / "merges.txt").touch()
    with pytest.raises(MissingPackageError, match=r"merges\.txt of .* is not the file that was recorded"):
        hub.checked_digests(hub.locate(ID))
    shutil.rmtree(snapshot)
    hub_with(spoil=lambda folder: (folder / "merges.txt").touch())
    hub.download(ID)
    assert "merges.txt" in hub.checked_digests(hub.locate(ID))


def test_a_model_without_safetensors_is_refused(hub_with: Callable[..., dict[str, Any]]) -> None:
    hub_with(spoil=lambda folder: (folder / "model.safetensors").unlink())
    with pytest.raises(MissingPackageError, match=r"no model\.safetensors.*--revision"):
        hub.download(ID)
    assert hub.read_records() == {}


def test_without_a_home_folder_models_are_found_and_none_is_downloaded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    def no_network(*_: object) -> None:
        raise AssertionError("the network was asked")

    put_into_cache(model)
    monkeypatch.delenv("DREAMFIELDS_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(hub, "fetch_metadata", no_network)
    assert hub.read_records() == {}
    assert hub.checked_digests(hub.locate(ID))
    with pytest.raises(StorageError, match="no home folder; set XDG_DATA_HOME"):
        hub.download(ID)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "~/.cache/huggingface/hub")  # As the hub has it without a home
    with pytest.raises(StorageError, match="no home folder; set HF_HOME"):
        hub.download(ID)
    assert not (tmp_path / "~").exists()
