"""Models on this machine: in a folder, or in the cache that the hub's own tools share.

A run never opens a connection; only `download` does. Revision and sha256 of every file are recorded when a model is
downloaded or first used, in the user's $DREAMFIELDS_HOME/models.json, and compared each time it is loaded. Weights are
safetensors only: a pickle (pytorch_model.bin) can run code when it is loaded. Nothing here imports torch.
"""

import contextlib
import fnmatch
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamfields.errors import MissingPackageError, StorageError, UsageError
from dreamfields.guidance.clip.download import HubFile, fetch, fetch_metadata
from dreamfields.storage import atomic_write, user_data, user_path

if TYPE_CHECKING:
    from dreamfields.guidance.ensemble import Member

KNOWN: Mapping[str, str] = {
    "openai/clip-vit-base-patch16": "CLIP B/16, the paper's guide",
    "openai/clip-vit-base-patch32": "CLIP B/32, the paper's judge: what guides should not judge as well",
    "openai/clip-vit-large-patch14": "CLIP L/14",
    "facebook/metaclip-b16-fullcc2.5b": "MetaCLIP B/16",
    "google/siglip-base-patch16-224": "SigLIP B/16",
    "google/siglip2-base-patch16-224": "SigLIP 2 B/16",
}
"""Models of the hub that are worth trying, and what they are."""

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
FILES = (
    *("config.json", "preprocessor_config.json", "processor_config.json", *_WEIGHTS, "model-*-of-*.safetensors"),
    *(*_VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt"),
)
"""Every file that may be read, and so every file that is downloaded."""
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "open_clip_pytorch_model.bin")

KINDS = ("clip", "metaclip_2", "siglip", "siglip2", "vision-text-dual-encoder")  # Types that can guide


@dataclass(frozen=True)
class Located:
    """A model on this machine, by the id that the user gave."""

    model_id: str
    folder: Path
    revision: str | None  # Commit of the hub; None for a folder that the user named


@dataclass(frozen=True)
class Entry:
    """The record of a model of the hub."""

    revision: str
    files: Mapping[str, str]  # Sha256 of every file, by name


def check(member: "Member", _: object = None) -> None:
    """Check that the model of a member is on this machine; raises what `locate` raises."""
    locate(member.model_id)


def locate(model_id: str) -> Located:
    """Find a model among the folders, then in the cache, without the network.

    Raises MissingPackageError: it is not on this machine, or lacks a file; UsageError: it is no model that can guide.
    """
    folder = user_path(model_id)
    if folder.is_dir():
        check_folder(folder, f"clip:{model_id} needs a whole model as transformers saves it")
        return Located(model_id, folder, None)
    if is_path(model_id):
        raise MissingPackageError(f"there is no folder {model_id} for clip:{model_id}; name one that holds a model")
    recorded = read_records().get(model_id)
    cached = _cached(model_id, recorded.revision if recorded else "main")
    if cached is None:
        raise MissingPackageError(
            f"the weights of {model_id} are not on this machine; run: dreamfields models download {model_id}, "
            "or name a folder that holds them as clip:/path/to/folder"
        )
    check_folder(cached, f"run: dreamfields models download {model_id}")
    return Located(model_id, cached, cached.name)


def checked_digests(model: Located) -> dict[str, str]:
    """Return the digests of a model's files after comparing them with the record; the first time, record them.

    Raises MissingPackageError: a file is not the recorded one.
    """
    files = digests(model.folder)
    if model.revision is None:
        return files
    recorded = read_records().get(model.model_id)
    if recorded is None or recorded.revision != model.revision:
        # A home that cannot be written to must not stop a run: run.json records the files as well.
        with contextlib.suppress(StorageError):
            record(model.model_id, Entry(model.revision, files))
    else:
        _compare(model, files, recorded, files.keys() | recorded.files.keys())
    return files


def download(model_id: str, revision: str = "main") -> Located:
    """Fetch a model from the hub into the shared cache, record it, and return where it is.

    Raises UsageError: this is no id of the hub, or the model cannot guide; MissingPackageError: the hub cannot be
    reached, has no such model, or no safetensors; StorageError: the cache cannot be written to, or there is no home.
    """
    from huggingface_hub import constants

    if is_path(model_id):
        raise UsageError(f"{model_id!r} is not the id of a model; it must be owner/name, such as {next(iter(KNOWN))}")
    cache = Path(constants.HF_HUB_CACHE)
    if cache.parts[:1] == ("~",):
        raise StorageError(f"cannot download {model_id}: this user has no home folder; set HF_HOME to a folder")
    home()  # Without one it could not be recorded in the end.
    listed = fetch_metadata(model_id, revision)
    probe = cache / ".dreamfields"
    try:
        atomic_write(probe, b"")
        probe.unlink()
    except (OSError, StorageError) as error:
        raise StorageError(
            f"cannot download {model_id}: the cache {cache} cannot be written to; set HF_HOME to a folder that can"
        ) from error
    try:
        folder = fetch(model_id, revision, FILES, _cache_folder(model_id))
    except OSError as error:
        raise MissingPackageError(
            f"cannot download {model_id} at revision {revision}: {error}; run the same again, which goes on from "
            f"there, or look at {constants.ENDPOINT}/{model_id}"
        ) from error
    check_folder(folder, "name a revision that has it: dreamfields models download ID --revision REVISION")
    model = Located(model_id, folder, folder.name)
    files, recorded = digests(folder), read_records().get(model_id)
    _check_downloaded(model, files, listed)
    if recorded is not None and recorded.revision == folder.name:
        # The files of a commit never change; some may not have been fetched the first time.
        _compare(model, files, recorded, files.keys() & recorded.files.keys())
    record(model_id, Entry(folder.name, files))
    return model


def home() -> Path:
    """Return the folder of the user's own data: $DREAMFIELDS_HOME, or `dreamfields` in the user's data folder."""
    return user_path(named) if (named := os.environ.get("DREAMFIELDS_HOME")) else user_data()


def read_records() -> dict[str, Entry]:
    """Return the records of models, by id; none without a home. Raises StorageError: their file is damaged."""
    try:
        path = home() / "models.json"
    except StorageError:  # Nothing can have been recorded.
        return {}
    if not path.is_file():
        return {}
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {model_id: Entry(str(one["revision"]), dict(one["sha256"])) for model_id, one in values.items()}
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path} cannot be read ({error}); move it away; a new one is then written") from error


def record(model_id: str, entry: Entry) -> None:
    """Add or replace the record of a model. Raises StorageError: the file of records cannot be written."""
    entries = {**read_records(), model_id: entry}
    values = {name: {"revision": one.revision, "sha256": dict(one.files)} for name, one in sorted(entries.items())}
    atomic_write(home() / "models.json", json.dumps(values, indent=2).encode())


def is_path(model_id: str) -> bool:
    """Return whether a model id is a folder: one exists, or it cannot be an id of the hub (`name` or `owner/name`)."""
    return user_path(model_id).is_dir() or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", model_id, re.ASCII)


def check_folder(folder: Path, remedy: str) -> None:
    """Check that a folder holds a model that can guide; `remedy` ends the sentence when something is missing.

    Raises MissingPackageError: a file is missing, or the weights are a pickle only; UsageError: its config.json cannot
    be read, or is of a type of model that cannot guide.
    """
    if not (folder / "config.json").is_file():
        raise MissingPackageError(f"{folder} holds no model (no config.json); {remedy}")
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in KINDS:
        raise UsageError(
            f"{folder} holds a model of type {kind!r}, which cannot guide; those that can: {', '.join(KINDS)}"
        )
    if not any((folder / name).is_file() for name in _WEIGHTS):
        if pickles := [name for name in _PICKLES if (folder / name).is_file()]:
            raise MissingPackageError(
                f"{folder} holds its weights as {pickles[0]} only, a pickle, which could run code when it is read; "
                "convert it to model.safetensors, or take a revision that has it"
            )
        raise MissingPackageError(f"{folder} holds no weights (no model.safetensors); {remedy}")
    # Checked because transformers would go on with a tokenizer that knows three words.
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise MissingPackageError(f"{folder} holds no tokenizer (no tokenizer.json or vocabulary); {remedy}")


def read_json(path: Path) -> dict[str, Any]:
    """Return a model's JSON file. Raises UsageError: it cannot be read, or is no JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read ({error}); copy or download the model again") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} is not a JSON object; copy or download the model again")
    return values


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of the model, by name."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return {path.name: file_sha256(path) for path in files if any(fnmatch.fnmatchcase(path.name, one) for one in FILES)}


def identity(files: dict[str, str]) -> str:
    """Return one digest of all files: the sha256 of the lines that `sha256sum` would print of them."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, however large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(model: Located, files: Mapping[str, str], recorded: Entry, names: Iterable[str]) -> None:
    if changed := sorted(name for name in names if files.get(name) != recorded.files.get(name)):
        raise MissingPackageError(
            f"{changed[0]} of {model.model_id} is not the file that was recorded (sha256); "
            f"delete {model.folder} and run: dreamfields models download {model.model_id}"
        )


def _check_downloaded(model: Located, files: Mapping[str, str], listed: Mapping[str, HubFile]) -> None:
    """Refuse and delete a file whose size or digest is not what the hub lists."""
    for name in files.keys() & listed.keys():
        path, sha256 = model.folder / name, files[name]
        size = path.stat().st_size
        if listed[name].size not in (None, size) or listed[name].sha256 not in (None, sha256):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise MissingPackageError(
                f"cannot download {model.model_id}: {name} came damaged ({size} bytes, sha256 {sha256[:12]}...) and "
                "was deleted; run the same again"
            )


def _cache_folder(model_id: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{model_id.replace('/', '--')}"


def _cached(model_id: str, revision: str) -> Path | None:
    with contextlib.suppress(OSError, ValueError):
        # Looked up first because the hub's client takes half a second to import.
        if _cache_folder(model_id).is_dir():
            from huggingface_hub import snapshot_download

            return Path(snapshot_download(model_id, revision=revision, local_files_only=True))
    return None
