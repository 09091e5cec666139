"""Checkpoints: the whole state of an optimisation on disk, written so that one good one is always there.

A checkpoint is two files: `<name>.safetensors` with every tensor and `<name>.json`, its manifest, which is written
last and so commits both. The manifest holds the counters, the run's settings ("made_from"), the size of the tensor file
and the sha256 of all of that, so that a torn, swapped or damaged file, or one of another run, is told from a good one.
Two checkpoints are kept. On one machine equal states are equal bytes, for nothing in them depends on the clock. No
pickle is involved. Format 1 lacks "made_from" and "machine"; it is read, not written.
"""

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from dreamfields.cpu import can_compile
from dreamfields.errors import CheckpointError, DegenerateError
from dreamfields.optimize.state import Saved, TrainingState, first_nonfinite
from dreamfields.reprs import short_repr
from dreamfields.runs.manifest import manifest_bytes, read_manifest, read_tensors_safely
from dreamfields.runs.upgrade import upgrade_identity
from dreamfields.storage import atomic_write, move_aside, read_regular, remove

FORMAT: Final = 2
_KEPT: Final = 2
_LARGEST: Final = 1 << 36  # More bytes than any tensor file of ours has


@dataclass(frozen=True)
class Checkpoint(Saved):
    """A state as it was read back; its bytes are those that were written."""

    machine: Mapping[str, Any] = field(default_factory=dict)  # See `machine_facts`
    passed_over: Mapping[Path, str] = field(default_factory=dict)
    """What is wrong with each newer checkpoint, by its manifest."""

    __repr__ = short_repr


def save_checkpoint(folder: Path, state: TrainingState, identity: Mapping[str, Any] | None = None) -> Path:
    """Write a state with its run's `Config.identity`, return the manifest's path, and keep one older checkpoint.

    Raises:
        DegenerateError: a tensor is not finite; nothing is written.
        StorageError: it cannot be written; the older checkpoints are untouched.
    """
    tensors, counters = state.tensors(), state.counters()
    if nonfinite := first_nonfinite(tensors):
        raise DegenerateError(f"{nonfinite} is not finite, so it is not saved; lower --optimize.learning-rate")
    content = safetensors.torch.save(tensors)
    facts = {"counters": counters, "made_from": dict(identity or {}), "machine": machine_facts(state.device)}
    manifest = {"format": FORMAT, "bytes": len(content), "sha256": _digest(content, facts), **facts}
    name = checkpoint_name(state.attempt, state.step)
    atomic_write(folder / f"{name}.safetensors", content)
    path = folder / f"{name}.json"
    atomic_write(path, manifest_bytes(manifest))
    for old in manifests(folder)[_KEPT:]:
        # The manifest first: a checkpoint without its data would be a damaged one.
        if remove(old):
            remove(old.with_suffix(".safetensors"))
    return path


def manifests(folder: Path) -> list[Path]:
    """Return the manifests in a folder, newest first."""
    return sorted(folder.glob("attempt-*-step-*.json"), reverse=True)


def load_newest(
    folder: Path,
    identity: Mapping[str, Any] | None = None,
    largest: int = _LARGEST,
    accept: Callable[[Checkpoint], None] = lambda _: None,
) -> Checkpoint:
    """Return the newest checkpoint that is whole, with what is wrong with newer ones.

    Args:
        folder: where the checkpoints of one run are.
        identity: the run's `Config.identity`; None takes any.
        largest: most bytes that the tensors may have.
        accept: raises CheckpointError for one that is whole and not to be used.

    Raises CheckpointError: there is none, or none is whole; says what is wrong with the newest.
    """
    faults: dict[Path, str] = {}
    for path in manifests(folder):
        try:
            found = load_checkpoint(path, identity, largest)
            accept(found)
        except CheckpointError as fault:
            faults[path] = str(fault)
        else:
            return replace(found, passed_over=faults)
    none = f"there is no checkpoint in {folder}; start the run again with: dreamfields generate"
    raise CheckpointError(next(iter(faults.values()), none))


def load_checkpoint(
    manifest_path: Path, identity: Mapping[str, Any] | None = None, largest: int = _LARGEST
) -> Checkpoint:
    """Read one checkpoint back, checking in turn its size, manifest, sha256, run, tensor types and tensor values.

    Raises CheckpointError: a file is missing, its bytes are not those that were written, or it is of another run.
    """
    try:
        manifest = read_manifest(manifest_path, FORMAT)
        size = manifest["bytes"]
        content = read_regular(manifest_path.with_suffix(".safetensors"), min(size, largest))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the checkpoint {manifest_path} cannot be read: {error}") from error
    facts: dict[str, Any] = {name: manifest[name] for name in ("counters", "made_from", "machine") if name in manifest}
    digest = _digest(content, facts if manifest["format"] > 1 else facts["counters"])
    if len(content) != size or digest != manifest["sha256"]:
        raise CheckpointError(f"the checkpoint {manifest_path} is damaged: its data are not those that were written")
    _refuse_another_run(manifest_path, upgrade_identity(manifest.get("made_from", {})), identity or {})
    try:
        tensors = read_tensors_safely(content)
    except (ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"the checkpoint {manifest_path} is damaged: {error}") from error
    if nonfinite := first_nonfinite(tensors):
        raise CheckpointError(f"the checkpoint {manifest_path} holds values that are not finite, in {nonfinite}")
    return Checkpoint(manifest["counters"], tensors, manifest.get("machine", {}))


def set_aside(damaged: Iterable[Path]) -> None:
    """Rename checkpoints that cannot be used, given by their manifests; to be called under the lock."""
    stamp = time.strftime("corrupt-%Y%m%d-%H%M%S")
    for manifest in damaged:
        for part in (manifest, manifest.with_suffix(".safetensors")):
            move_aside(part, f"{part.name}.{stamp}")


def sweep_orphans(folder: Path) -> None:
    """Delete tensors whose manifest was never written; to be called under the lock."""
    for data in folder.glob("attempt-*-step-*.safetensors"):
        if not data.with_suffix(".json").exists():
            remove(data)


def discard_newer(folder: Path, attempt: int, step: int) -> None:
    """Delete the checkpoints after a step, to which the run has gone back; to be called under the lock."""
    for path in manifests(folder):
        if path.stem > checkpoint_name(attempt, step) and remove(path):
            remove(path.with_suffix(".safetensors"))


def checkpoint_name(attempt: int, step: int) -> str:
    """Return the name of a checkpoint's files without ending; wide enough that the order of names is that of time."""
    return f"attempt-{attempt:03d}-step-{step:08d}"


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Return what the bits of the next steps depend on besides the state."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device.type,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "numba": importlib.metadata.version("numba") if can_compile() else "missing",
    }


def _digest(content: bytes, facts: Mapping[str, Any]) -> str:
    """Return the sha256 of the manifest's facts, as sorted JSON, and of the tensors."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode() + b"\n" + content).hexdigest()


def _refuse_another_run(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Compare the settings that both know, for one that only one of them knows is of another version."""
    other = [name for name in sorted(there.keys() & here.keys()) if there[name] != here[name]]
    if other:
        said = "; ".join(f"{name} is {there[name]!r} there and {here[name]!r} here" for name in other[:5])
        raise CheckpointError(f"the checkpoint {path} is of another run: {said}; put run.json back as it was")
