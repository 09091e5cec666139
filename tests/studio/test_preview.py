"""The live preview: a checkpoint becomes an image and a mesh, and watching never changes the run."""

import asyncio
import io
from collections.abc import Callable
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
from dreamfields.scene.fields import FIELDS
from dreamfields.studio import preview
from dreamfields.studio.watcher import Journal, Watcher
from tests.support.toys import TINY, TINY_EXPORT, TINY_MLP, sha256_of, tiny_config, with_steps


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {name: replace(kind, preview_size=24) for name, kind in FIELDS.items()}
    monkeypatch.setattr(preview, "FIELDS", small)


def taken(run: Run, steps: int) -> None:
    iterator = run.steps()
    for _ in range(steps):
        next(iterator)
    iterator.close()


# With twelve pixels a side a network takes forty steps to a fog that has a surface.
@pytest.mark.parametrize(("recipe", "count"), [(TINY, 3), (with_steps(50, TINY_MLP), 40)], ids=["voxels", "mlp"])
def test_the_newest_checkpoint_is_shown(tmp_path: Path, recipe: Recipe, count: int) -> None:
    config = replace(tiny_config(recipe), export=replace(TINY_EXPORT, level=None))
    run = start(config, tmp_path)
    assert preview.newest_checkpoint(run.directory) == ""
    taken(run, count)
    name = preview.newest_checkpoint(run.directory)
    assert name == f"attempt-000-step-{count:08d}"
    shown = preview.make_preview(run.directory, run.config, name)
    assert (shown.name, shown.step) == (name, count)
    with Image.open(io.BytesIO(shown.image)) as image:
        assert image.size == (24, 24)
        assert np.asarray(image).std() > 5.0
    scene = trimesh.load(io.BytesIO(shown.mesh), file_type="glb")
    assert isinstance(scene, trimesh.Scene)
    assert scene.to_mesh().volume > 0.0
    assert scene.to_mesh().extents.max() == pytest.approx(0.2)  # Metres, as of the finished object.


def test_without_a_surface_there_is_an_image_alone(tmp_path: Path) -> None:
    recipe = replace(with_steps(2), voxels=replace(TINY.voxels, blob_strength=0.0, blob_offset=-20.0))
    run = start(tiny_config(recipe), tmp_path)
    taken(run, 1)
    shown = preview.make_preview(run.directory, run.config, "x")
    assert shown.image
    assert shown.mesh == b""


def test_damaged_checkpoints_are_a_sentence_and_no_end(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    taken(run, 2)
    for path in run.directory.checkpoints.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError):
        preview.make_preview(run.directory, run.config, "x")
    watcher = Watcher(Journal(run.directory))
    watcher.refresh_preview()
    assert "cannot be read" in watcher.state()["fault"]
    assert watcher.preview is None


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (KeyError("nerf"), "the preview failed: KeyError: 'nerf'"),
        (MemoryError("8 GB"), "the preview failed: MemoryError: 8 GB"),
        (CheckpointError("no checkpoint is whole"), "no checkpoint is whole"),
    ],
)
def test_whatever_fails_in_a_preview_is_told_and_the_next_checkpoint_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, fault: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    run = start(tiny_config(), tmp_path)
    taken(run, 2)
    watcher = Watcher(Journal(run.directory))
    watcher.viewers = 1

    async def watched_until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60.0), watcher.watching():
            while not condition():
                await asyncio.sleep(0.05)

    with monkeypatch.context() as patched:
        patched.setattr(preview, "make_preview", fail)
        asyncio.run(watched_until(lambda: watcher.state()["fault"] == fault and watcher.version > 0))
        assert watcher.refresh_preview() > 0.0  # It is tried again, at a price.
    asyncio.run(watched_until(lambda: watcher.state()["image"] != ""))
    assert watcher.state()["fault"] == ""


def test_a_requested_checkpoint_is_saved_after_the_next_step_once(tmp_path: Path) -> None:
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


def test_a_watched_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    alone, watched = start(tiny_config(), tmp_path / "alone"), start(tiny_config(), tmp_path / "watched")
    for _ in alone.steps():
        pass
    watcher = Watcher(Journal(watched.directory))
    images = set()
    for step in watched.steps():
        torch.rand(step.index)  # The watcher may draw from the global generator.
        watcher.refresh_preview()
        watcher.journal.directory.request_checkpoint()
        images.add(watcher.state()["image"])
    assert len(images) > 8
    ends = []
    for run in (alone, watched):
        newest = manifests(run.directory.checkpoints)[0]
        ends.append([sha256_of(path) for path in (newest, newest.with_suffix(".safetensors"), run.directory.metrics)])
    assert ends[0] == ends[1]


def test_watching_changes_nothing_in_the_folder(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    for _ in run.steps():
        pass
    load(run.path).finish()
    before = {path: sha256_of(path) for path in run.path.rglob("*") if path.is_file()}
    watcher = Watcher(Journal(run.directory))
    watcher.refresh_preview()
    state = watcher.state()
    assert (state["status"], state["mesh"], state["step"]) == ("finished", "/files/object.glb", TINY.optimize.steps)
    assert {path: sha256_of(path) for path in run.path.rglob("*") if path.is_file()} == before


def test_in_a_folder_that_cannot_be_written_watching_goes_on(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    taken(run, 2)
    (run.path / ".checkpoint-wanted").mkdir()  # Even root cannot put a file in its place.
    watcher = Watcher(Journal(run.directory))
    watcher.request_checkpoint()
    watcher.refresh_preview()
    assert watcher.preview is not None
