"""The checkpointer: the files of killed writers are cleared away, and what differs on resuming is a note."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dreamfields import api
from dreamfields.errors import CheckpointError
from dreamfields.runs import checkpointer as checkpointer
from dreamfields.runs.checkpoint import manifests
from tests.support.toys import tiny_config


@pytest.fixture
def stopped(tmp_path: Path) -> api.Run:
    """A run that was stopped after seven steps."""
    run = api.start(tiny_config(), tmp_path)
    steps = run.steps()
    for _ in range(7):
        next(steps)
    steps.close()
    return run


def test_what_killed_writers_left_is_swept(stopped: api.Run) -> None:
    folder = stopped.directory.checkpoints
    orphan = folder / "attempt-000-step-00000009.safetensors"
    rests = [stopped.path / ".run.json.0123.tmp", folder / ".attempt-000-step-00000009.json.4567.tmp", orphan]
    rests.append(stopped.directory.previews / ".attempt-000-step-00000004.png.89ab.tmp")
    mine = stopped.path / "notes.tmp"
    for path in (*rests, mine):
        path.write_bytes(b"half")
    next(api.load(stopped.path).steps())
    assert not [path for path in rests if path.exists()]
    assert mine.exists()


def test_a_machine_that_computes_other_bits_is_said(stopped: api.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"torch": "9.9", "threads": 1, "device": "cpu"}
    monkeypatch.setattr(checkpointer, "machine_facts", lambda _: now)
    run = api.load(stopped.path)
    assert run.load_state().step == 7
    run.export(run.path / "now.glb")
    assert run.notes == []  # So far nothing is computed that depends on it.
    next(run.steps())
    (note,) = run.notes
    assert note.startswith("torch was ")
    assert note.endswith(" and is 9.9 now: its last bits will differ")


def test_on_the_same_machine_nothing_is_said(stopped: api.Run) -> None:
    run = api.load(stopped.path)
    assert run.load_state().step == 7
    assert run.notes == []


def test_a_checkpoint_that_cannot_be_deleted_costs_nothing(stopped: api.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamfields.runs.checkpoint.remove", lambda _: False)
    run = api.load(stopped.path)
    for _ in run.steps():
        pass
    assert [path.stem[-2:] for path in manifests(run.directory.checkpoints)] == ["12", "10", "07", "05"]


def test_a_checkpoint_of_another_prompt_is_refused_though_it_would_fit(stopped: api.Run, tmp_path: Path) -> None:
    other = api.start(tiny_config(prompt="a blue ball"), tmp_path)
    shutil.copytree(stopped.directory.checkpoints, other.directory.checkpoints)
    with pytest.raises(CheckpointError, match="of another run: prompt is 'a red ball' there and 'a blue ball' here"):
        other.load_state()


def test_more_steps_and_another_cadence_make_no_other_run(stopped: api.Run) -> None:
    recipe = stopped.config.recipe
    longer = replace(recipe, optimize=replace(recipe.optimize, steps=20, checkpoint_every=3))
    run = api.Run(stopped.directory, replace(stopped.record, config=replace(stopped.config, recipe=longer)))
    assert [step.index for step in run.steps()] == list(range(8, 21))


def test_of_a_finished_run_another_machine_is_no_matter(stopped: api.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    list(stopped.steps())
    stopped.finish()
    before = (stopped.path / "run.json").read_text()
    monkeypatch.setattr(checkpointer, "machine_facts", lambda _: {"torch": "9.9", "threads": 7})
    run = api.load(stopped.path)
    assert list(run.steps()) == []
    run.export(run.path / "object.glb")
    assert run.notes == []
    assert (stopped.path / "run.json").read_text() == before
