"""A model's folder: the files it needs, the types of model that can guide, and digests.

Weights are safetensors only: a pickle (pytorch_model.bin) can run code when it is loaded. Nothing here imports torch.
"""

import fnmatch
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from dreamfields.errors import MissingPackageError, UsageError

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
FILES = (
    *("config.json", "preprocessor_config.json", "processor_config.json", *_WEIGHTS, "model-*-of-*.safetensors"),
    *(*_VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt"),
)
"""Every file that may be read, and so every file that is downloaded."""
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "open_clip_pytorch_model.bin")

KINDS = ("clip", "metaclip_2", "siglip", "siglip2", "vision-text-dual-encoder")
"""The `model_type` of models that can guide."""


def is_path(model_id: str) -> bool:
    """Return whether a model id is a folder: one exists, or it cannot be an id of the hub (`name` or `owner/name`)."""
    return Path(model_id).expanduser().is_dir() or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", model_id, re.ASCII)


def check_folder(folder: Path, remedy: str) -> None:
    """Make sure that a folder holds a model that can guide; `remedy` ends the sentence when something is missing.

    Raises:
        MissingPackageError: the folder lacks a file, or has its weights as a pickle only.
        UsageError: its config.json cannot be read, or is of a type of model that cannot guide.
    """
    if not (folder / "config.json").is_file():
        raise MissingPackageError(f"{folder} holds no model (no config.json); {remedy}")
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in KINDS:
        raise UsageError(
            f"{folder} holds a model of type {kind!r}, which cannot guide; those that can: {', '.join(KINDS)}"
        )
    if not any((folder / name).is_file() for name in _WEIGHTS):
        pickles = [name for name in _PICKLES if (folder / name).is_file()]
        if pickles:
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
        raise UsageError(f"{path} cannot be read ({error}); take the model's folder afresh") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} is not a JSON object; take the model's folder afresh")
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
