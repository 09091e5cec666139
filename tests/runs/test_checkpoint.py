"""Checkpoints: what was written comes back or is refused, whatever happened to the bytes in between."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from dreamfields.errors import CheckpointError, DegenerateError, StorageError
from dreamfields.optimize.settings import Recipe
from dreamfields.optimize.state import TrainingState
from dreamfields.runs import checkpoint
from dreamfields.runs.checkpoint import load_checkpoint, load_newest, manifests, save_checkpoint
from dreamfields.storage import atomic_write
from tests.support.toys import TINY, TINY_MLP, advance, fingerprint, new_state, with_steps


@pytest.fixture(scope="module")
def trained() -> TrainingState:
    """A state after some steps; tests only read it."""
    state = new_state()
    advance(state, 5)
    return state


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """The manifests of an older and a newer checkpoint in one folder."""
    state = new_state()
    advance(state, 2)
    older = save_checkpoint(tmp_path, state)
    advance(state, 1)
    return older, save_checkpoint(tmp_path, state)


def data_of(manifest: Path) -> Path:
    return manifest.with_suffix(".safetensors")


@pytest.mark.parametrize("recipe", [TINY, TINY_MLP], ids=["voxels", "mlp"])
def test_a_state_comes_back_as_it_was(recipe: Recipe, tmp_path: Path) -> None:
    trained = new_state(recipe)
    advance(trained, 5)
    saved = load_checkpoint(save_checkpoint(tmp_path, trained))
    assert saved.counters == trained.counters()
    expected = trained.tensors()
    assert saved.tensors.keys() == expected.keys()
    assert all(torch.equal(saved.tensors[name], expected[name]) for name in expected)
    restored = new_state(recipe, seed=1)
    restored.restore(saved.tensors, saved.counters)
    assert fingerprint(restored) == fingerprint(trained)


@pytest.mark.parametrize("recipe", [TINY, TINY_MLP], ids=["voxels", "mlp"])
def test_the_state_before_the_first_step_comes_back_too(recipe: Recipe, tmp_path: Path) -> None:
    saved = load_checkpoint(save_checkpoint(tmp_path, new_state(recipe)))
    restored = new_state(recipe, seed=1)
    restored.restore(saved.tensors, saved.counters)
    assert fingerprint(restored) == fingerprint(new_state(recipe))


def test_the_state_of_one_field_is_refused_by_another(trained: TrainingState) -> None:
    with pytest.raises(CheckpointError, match="does not fit the run's settings"):
        new_state(TINY_MLP).restore(trained.tensors(), trained.counters())


def test_equal_states_are_equal_bytes(trained: TrainingState, tmp_path: Path) -> None:
    twin = new_state()
    advance(twin, 5)
    one, other = save_checkpoint(tmp_path / "1", trained), save_checkpoint(tmp_path / "2", twin)
    assert one.read_bytes() == other.read_bytes()
    assert data_of(one).read_bytes() == data_of(other).read_bytes()


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    state = new_state()
    paths = []
    for _ in range(4):
        advance(state, 1)
        paths.append(save_checkpoint(tmp_path, state))
    assert manifests(tmp_path) == [paths[3], paths[2]]
    assert sorted(tmp_path.iterdir()) == sorted([*paths[2:], *map(data_of, paths[2:])])


def test_newest_means_by_attempt_then_by_step_up_to_the_largest_there_are(tmp_path: Path) -> None:
    state = new_state()
    for attempt, step in [(2, 9_999_999), (2, 10_000_000), (10, 2), (99, 3), (100, 1)]:
        state.attempt, state.step = attempt, step
        newest = save_checkpoint(tmp_path, state)
        assert manifests(tmp_path)[0] == newest
        counters = load_newest(tmp_path).counters
        assert (counters["attempt"], counters["step"]) == (attempt, step)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def extended(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def missing(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def oversized(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" " * 1_000_001)


def deeply_nested(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def another_value(path: Path) -> None:
    path.write_text("[1, 2]")


def another_format(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": checkpoint.FORMAT + 1}))


def another_step(path: Path) -> None:
    manifest = json.loads(path.read_text())
    manifest["counters"]["step"] += 1
    path.write_text(json.dumps(manifest))


Damage = Callable[[Path], None]


@pytest.mark.parametrize("damage", [truncated, emptied, extended, missing, a_folder])
def test_damaged_data_are_refused_and_the_older_checkpoint_is_used(two: tuple[Path, Path], damage: Damage) -> None:
    damage(data_of(two[1]))
    refused_for_the_older(two)


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        emptied,
        extended,
        a_folder,
        oversized,
        deeply_nested,
        no_text,
        another_value,
        another_format,
        another_step,
    ],
)
def test_a_damaged_manifest_is_refused_and_the_older_checkpoint_is_used(two: tuple[Path, Path], damage: Damage) -> None:
    damage(two[1])
    refused_for_the_older(two)


def refused_for_the_older(two: tuple[Path, Path]) -> None:
    older, newer = two
    with pytest.raises(CheckpointError, match=newer.stem):
        load_checkpoint(newer)
    assert load_newest(newer.parent).counters["step"] == load_checkpoint(older).counters["step"] == 2


def test_a_manifest_that_is_gone_was_never_committed(two: tuple[Path, Path]) -> None:
    two[1].unlink()
    assert load_newest(two[0].parent).counters["step"] == 2


def test_the_data_of_another_checkpoint_are_refused(two: tuple[Path, Path]) -> None:
    older, newer = map(data_of, two)
    content = older.read_bytes(), newer.read_bytes()
    assert len(content[0]) == len(content[1])
    older.write_bytes(content[1])
    newer.write_bytes(content[0])
    for manifest in two:
        with pytest.raises(CheckpointError, match="is damaged"):
            load_checkpoint(manifest)


def test_any_flipped_bit_is_noticed(two: tuple[Path, Path]) -> None:
    draws = random.Random(0)
    for path in (two[1], data_of(two[1])):
        content = path.read_bytes()
        for _ in range(40):
            flipped = bytearray(content)
            flipped[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
            path.write_bytes(flipped)
            with pytest.raises(CheckpointError):
                load_checkpoint(two[1])
        path.write_bytes(content)
    assert load_newest(two[1].parent).counters["step"] == 3


def test_with_all_damaged_the_newest_is_named(two: tuple[Path, Path]) -> None:
    for manifest in two:
        truncated(data_of(manifest))
    with pytest.raises(CheckpointError, match=two[1].stem):
        load_newest(two[1].parent)


def test_without_any_the_sentence_says_how_to_start(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match=r"there is no checkpoint in .*; start the run again"):
            load_newest(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_neither_written_nor_read(
    trained: TrainingState, tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = new_state()
    saved = trained.tensors(), trained.counters()
    state.restore(*saved)
    with torch.no_grad():
        next(iter(state.field.parameters()))[0, 0, 0, 0] = value
    with pytest.raises(DegenerateError, match=r"field\.grids\.0 is not finite, so it is not saved"):
        save_checkpoint(tmp_path, state)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(checkpoint, "first_nonfinite", lambda _: None)
    path = save_checkpoint(tmp_path, state)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"not finite, in field\.grids\.0"):
        load_checkpoint(path)


def test_what_a_failed_save_leaves_is_the_older_checkpoint(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = new_state()
    advance(state, 4)
    real = atomic_write

    def fails_at_the_manifest(path: Path, content: bytes) -> None:
        if path.suffix == ".json":
            raise StorageError("the disk is full")
        real(path, content)

    monkeypatch.setattr(checkpoint, "atomic_write", fails_at_the_manifest)
    with pytest.raises(StorageError, match="full"):
        save_checkpoint(two[0].parent, state)
    assert load_newest(two[0].parent).counters["step"] == 3


def test_the_manifest_is_written_last_and_older_ones_go_after_it(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, int]] = []
    real = atomic_write

    def recorded(path: Path, content: bytes) -> None:
        written.append((path.suffix, len(manifests(path.parent))))
        real(path, content)

    monkeypatch.setattr(checkpoint, "atomic_write", recorded)
    state = new_state()
    advance(state, 4)
    save_checkpoint(two[0].parent, state)
    assert written == [(".safetensors", 2), (".json", 2)]


def dropped(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["occupancy"]


def added(tensors: dict[str, torch.Tensor]) -> None:
    tensors["__class__.__init__"] = torch.zeros(1)


def reshaped(tensors: dict[str, torch.Tensor]) -> None:
    tensors["field.grids.0"] = tensors["field.grids.0"][:, :-1]


def retyped(tensors: dict[str, torch.Tensor]) -> None:
    tensors["field.grids.0"] = tensors["field.grids.0"].double()


@pytest.mark.parametrize("change", [dropped, added, reshaped, retyped])
def test_tensors_that_do_not_fit_the_recipe_are_refused(
    trained: TrainingState, change: Callable[[dict[str, Any]], None]
) -> None:
    tensors = trained.tensors()
    change(tensors)
    with pytest.raises(CheckpointError, match="does not fit the run's settings"):
        new_state().restore(tensors, trained.counters())


def test_another_number_of_steps_still_fits(trained: TrainingState) -> None:
    state = new_state(with_steps(100, TINY))
    state.restore(trained.tensors(), trained.counters())
    assert state.step == 5


def test_no_pickle_is_involved(trained: TrainingState, tmp_path: Path) -> None:
    content = data_of(save_checkpoint(tmp_path, trained)).read_bytes()
    assert safetensors.torch.load(content).keys() == trained.tensors().keys()
    assert content[8:9] == b"{"
