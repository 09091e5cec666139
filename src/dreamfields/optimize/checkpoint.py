"""Checkpoints: the whole state of an optimisation on disk, written so that one good one is always there.

A checkpoint is two files: `<name>.safetensors` with every tensor and `<name>.json`, its manifest, written last. The
manifest is the commit: it holds the counters, the size of the tensor file and the sha256 of both, so a torn, swapped
or damaged file is told from a good one. The two newest are kept. Nothing in them depends on the clock or the machine,
so equal states are equal bytes. No pickle is involved.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dreamfields.errors import CheckpointError
from dreamfields.optimize.state import TrainingState
from dreamfields.storage import atomic_write

FORMAT = 1
_KEPT = 2
_LARGEST_MANIFEST = 1_000_000


@dataclass(frozen=True)
class Checkpoint:
    """A state as it was read back, its bytes known to be those that were written."""

    counters: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def save_checkpoint(folder: Path, state: TrainingState) -> Path:
    """Write a state and return its manifest's path; older checkpoints but one are deleted afterwards.

    Raises:
        StorageError: it cannot be written; the older checkpoints are untouched.
    """
    content, counters = safetensors.torch.save(state.tensors()), state.counters()
    manifest = {
        "format": FORMAT,
        "bytes": len(content),
        "sha256": _digest(content, counters),
        "counters": counters,
    }
    # As wide as the largest attempt and step the settings allow, so that the order of names is that of time.
    name = f"attempt-{state.attempt:03d}-step-{state.step:08d}"
    atomic_write(folder / f"{name}.safetensors", content)
    path = folder / f"{name}.json"
    atomic_write(path, json.dumps(manifest, indent=1, sort_keys=True).encode())
    for old in manifests(folder)[_KEPT:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return path


def manifests(folder: Path) -> list[Path]:
    """Return the manifests in a folder, newest first."""
    return sorted(folder.glob("attempt-*-step-*.json"), reverse=True)


def load_newest(folder: Path) -> Checkpoint:
    """Return the newest checkpoint that is whole; damaged ones are passed over.

    Raises:
        CheckpointError: there is none, or none is whole; says what is wrong with the newest.
    """
    first_fault: CheckpointError | None = None
    for path in manifests(folder):
        try:
            return load_checkpoint(path)
        except CheckpointError as fault:
            first_fault = first_fault or fault
    raise first_fault or CheckpointError(
        f"there is no checkpoint in {folder}; start the run again with: dreamfields generate"
    )


def load_checkpoint(manifest_path: Path) -> Checkpoint:
    """Read one checkpoint back.

    Raises:
        CheckpointError: a file is missing, or its bytes are not those that were written.
    """
    try:
        manifest = _read_manifest(manifest_path)
        content = manifest_path.with_suffix(".safetensors").read_bytes()
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the checkpoint {manifest_path} cannot be read: {error}") from error
    if len(content) != manifest["bytes"] or _digest(content, manifest["counters"]) != manifest["sha256"]:
        raise CheckpointError(f"the checkpoint {manifest_path} is damaged: its data are not those that were written")
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"the checkpoint {manifest_path} is damaged: {error}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values() if tensor.is_floating_point()):
        raise CheckpointError(f"the checkpoint {manifest_path} holds values that are not finite")
    return Checkpoint(manifest["counters"], tensors)


def _digest(content: bytes, counters: Mapping[str, Any]) -> str:
    """Return the sha256 of the counters, as JSON in one form, and of the tensors."""
    return hashlib.sha256(json.dumps(counters, sort_keys=True).encode() + b"\n" + content).hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise ValueError("its manifest is too large to be one")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or not {"format", "bytes", "sha256", "counters"} <= manifest.keys():
        raise ValueError("its manifest lacks entries")
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']}; this version reads format {FORMAT}")
    return manifest
