"""Looking on: a checkpoint becomes a picture and a mesh, and the run never notices."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from dreamfields.api import Run, load, start
from dreamfields.errors import CheckpointError
from dreamfields.optimize.settings import Recipe
from dreamfields.runs.checkpoint import manifests
from dreamfields.studio import preview as preview
from dreamfields.studio.journal import Journal
from dreamfields.studio.watcher import Watcher
from tests.support.toys import TINY, TINY_EXPORT, TINY_MLP, sha256_of, tiny_config, with_steps


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "PICTURE_SIZE", {"voxels": 24, "mlp": 24})


def taken(run: Run, steps: int) -> None:
    iterator = run.steps()
    for _ in range(steps):
        next(iterator)
    iterator.close()


# Twelve pixels a side take a network forty steps to a haze that has a surface.
@pytest.mark.parametrize(("recipe", "count"), [(TINY, 3), (with_steps(50, TINY_MLP), 40)], ids=["voxels", "mlp"])
def test_the_newest_checkpoint_is_shown(tmp_path: Path, recipe: Recipe, count: int) -> None:
    config = replace(tiny_config(recipe), export=replace(TINY_EXPORT, level=None))
    run = start(config, tmp_path)
    assert preview.newest_checkpoint(run.directory) == ""
    taken(run, count)
    name = preview.newest_checkpoint(run.directory)
    assert name == f"attempt-000-step-{count:08d}"
    seen = preview.make_preview(run.directory, run.config, name)
    assert (seen.name, seen.step) == (name, count)
    with Image.open(io.BytesIO(seen.picture)) as picture:
        assert picture.size == (24, 24)
        assert np.asarray(picture).std() > 5.0
    scene = trimesh.load(io.BytesIO(seen.mesh), file_type="glb")
    assert isinstance(scene, trimesh.Scene)
    assert scene.to_mesh().volume > 0.0


def test_without_a_surface_there_is_a_picture_alone(tmp_path: Path) -> None:
    recipe = replace(with_steps(2), voxels=replace(TINY.voxels, blob_strength=0.0, blob_offset=-20.0))
    run = start(tiny_config(recipe), tmp_path)
    taken(run, 1)
    seen = preview.make_preview(run.directory, run.config, "x")
    assert seen.picture
    assert seen.mesh == b""


def test_damaged_checkpoints_are_a_sentence_and_no_end(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    taken(run, 2)
    for path in run.directory.checkpoints.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError):
        preview.make_preview(run.directory, run.config, "x")
    watcher = Watcher(Journal(run.directory))
    watcher.look()
    assert "cannot be read" in watcher.state()["fault"]
    assert watcher.preview is None


def test_a_wish_is_granted_after_the_next_step_once(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    steps = run.steps()
    names = []
    for index, _ in enumerate(steps):
        names.append(preview.newest_checkpoint(run.directory)[-2:])
        if index == 1:
            run.directory.request_checkpoint()
    # A step's checkpoint is there when the next step is handed out; the recipe's own come at 5 and 10.
    assert names == ["", "", "02", "02", "02", "05", "05", "05", "05", "05", "10", "10"]
    assert not list(run.path.glob(".checkpoint*"))


def test_a_run_that_is_looked_at_ends_with_the_same_bytes(tmp_path: Path) -> None:
    alone, watched = start(tiny_config(), tmp_path / "alone"), start(tiny_config(), tmp_path / "watched")
    for _ in alone.steps():
        pass
    watcher = Watcher(Journal(watched.directory))
    seen = set()
    for step in watched.steps():
        torch.rand(step.index)  # Whoever looks on may draw as he likes.
        watcher.look()
        watcher.journal.directory.request_checkpoint()
        seen.add(watcher.state()["picture"])
    assert len(seen) > 8
    ends = []
    for run in (alone, watched):
        newest = manifests(run.directory.checkpoints)[0]
        ends.append([sha256_of(path) for path in (newest, newest.with_suffix(".safetensors"), run.directory.metrics)])
    assert ends[0] == ends[1]


def test_looking_changes_nothing_in_the_folder(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    for _ in run.steps():
        pass
    load(run.path).finish()
    before = {path: sha256_of(path) for path in run.path.rglob("*") if path.is_file()}
    watcher = Watcher(Journal(run.directory))
    watcher.look()
    state = watcher.state()
    assert (state["status"], state["mesh"], state["step"]) == ("finished", "/files/object.glb", TINY.optimize.steps)
    assert {path: sha256_of(path) for path in run.path.rglob("*") if path.is_file()} == before


def test_while_nobody_can_write_looking_goes_on(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    taken(run, 2)
    (run.path / ".checkpoint-wanted").mkdir()  # Even root cannot put a file in its place.
    watcher = Watcher(Journal(run.directory))
    watcher.ask()
    watcher.look()
    assert watcher.preview is not None
