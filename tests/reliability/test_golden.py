"""Runs of every format there has been still load and go on: tests/golden is never written anew, only added to."""

import json
import shutil
from pathlib import Path

import pytest

from dreamfields import api
from dreamfields.runs import checkpoint, checkpointer
from dreamfields.runs.checkpoint import load_checkpoint, manifests
from tests.support.toys import PROMPT, fingerprint, new_state, sha256_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FORMATS = range(1, checkpoint.FORMAT + 1)
TENSORS = "1a9cf0fa647143fb"
"""Beginning of the sha256 of the tensors in all of them: the same seven steps."""


@pytest.fixture(params=FORMATS, ids=lambda number: f"format-{number}")
def old_run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the run of one format."""
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN / f"format-{request.param}", folder)
    (path,) = manifests(folder / "checkpoints")
    assert json.loads(path.read_text())["format"] == request.param
    return folder


def test_every_format_has_its_run() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"format-{number}" for number in FORMATS}


def test_a_run_of_an_old_format_is_read_as_it_was_and_goes_on(old_run: Path) -> None:
    (path,) = manifests(old_run / "checkpoints")
    assert sha256_of(path.with_suffix(".safetensors")).startswith(TENSORS)
    saved = load_checkpoint(path)
    assert len(saved.tensors) == 9
    run = api.load(old_run)
    state = run.load_state()
    assert (run.config.prompt, state.step, state.skipped, state.rollbacks) == (PROMPT, 7, 0, 0)
    other = new_state(run.config.recipe)
    other.restore(saved.tensors, saved.counters)
    assert fingerprint(other) == fingerprint(state)
    assert [step.index for step in run.steps()] == list(range(8, 13))
    assert run.status == "optimized"
    newest = manifests(old_run / "checkpoints")[0]
    assert json.loads(newest.read_text())["format"] == checkpoint.FORMAT
    assert load_checkpoint(newest, run.config.identity()).counters["step"] == 12


def test_all_formats_lead_to_the_same_end(tmp_path: Path) -> None:
    ends = []
    for number in FORMATS:
        shutil.copytree(GOLDEN / f"format-{number}", tmp_path / str(number))
        run = api.load(tmp_path / str(number))
        for _ in run.steps():
            pass
        ends.append(fingerprint(run.load_state()))
    assert all(end == ends[0] for end in ends)


def test_a_removed_setting_of_an_old_run_is_a_note_that_stays(old_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "machine_facts", lambda _: {})  # Another processor would be another note.
    note = "losses.total_variation was 0.01; this version has no such setting, and goes on without it"
    run = api.load(old_run)
    assert run.notes == [note]
    assert [step.index for step in run.steps()] == list(range(8, 13))
    assert (run.status, run.notes, api.load(old_run).notes) == ("optimized", [note], [note])
