"""The record: to JSON and back without a loss, typed when read, and what another version wrote is kept."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.errors import UsageError
from dreamfields.runs.record import RunRecord
from tests.reliability.test_golden import GOLDEN
from tests.support.toys import tiny_config

TEXTS = st.lists(st.text(max_size=9), max_size=3).map(tuple)
TABLES = st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3)
RECORDS = st.builds(
    RunRecord,
    status=st.sampled_from(["started", "running", "interrupted", "optimized", "finished"]),
    config=st.just(tiny_config()),
    versions=TABLES,
    cpu_threads=st.integers(0, 1024),
    guidance=TEXTS,
    weights=TEXTS,
    notes=TEXTS,
    device=st.text(max_size=9),
    seconds=st.floats(0.0, 1e9),
    attempts=st.integers(0, 100),
    mesh=st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=9) | st.floats(allow_nan=False)),
    export_notes=TABLES,
    lost=st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=9)),
    unknown=st.dictionaries(st.text(max_size=9).map(lambda name: f"x{name}"), st.integers()),
)


def values(**changes: Any) -> dict[str, Any]:
    """Return the content of a run.json with changes."""
    return {"format": 1, "status": "started", "config": tiny_config().to_json(), **changes}


@given(RECORDS)
def test_a_record_comes_back_from_json_as_it_was(record: RunRecord) -> None:
    assert RunRecord.from_json(record.to_json()) == record
    assert RunRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_what_is_not_known_yet_is_not_written() -> None:
    written = RunRecord("started", tiny_config()).to_json()
    assert written.keys() == {"format", "status", "config", "guidance", "weights", "notes"}


def test_run_json_of_an_old_format_is_written_back_with_the_same_keys_and_values() -> None:
    for path in sorted(GOLDEN.glob("*/run.json")):
        before = json.loads(path.read_text())
        after = json.loads(json.dumps(RunRecord.from_json(before).to_json()))
        assert after.pop("config")["prompt"] == before.pop("config")["prompt"]
        after.pop("lost", None)
        assert after == before


def test_entries_of_a_newer_version_are_kept() -> None:
    record = RunRecord.from_json(values(later={"a": [1]}, unknown=3))
    assert record.unknown == {"later": {"a": [1]}, "unknown": 3}
    written = replace(record, status="finished").to_json()
    assert (written["later"], written["unknown"], written["status"]) == ({"a": [1]}, 3, "finished")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("format", 2),
        ("format", "1"),
        ("format", None),
        ("status", "done"),
        ("status", ["started"]),
        ("versions", ["1"]),
        ("versions", {"torch": 2}),
        ("cpu_threads", -1),
        ("cpu_threads", True),
        ("cpu_threads", 1.5),
        ("guidance", "toy"),
        ("weights", [1]),
        ("notes", 3),
        ("notes", {"a": "b"}),
        ("device", 0),
        ("seconds", "1"),
        ("seconds", -0.5),
        ("seconds", float("nan")),
        ("attempts", None),
        ("mesh", []),
        ("export_notes", {"a.mp4": 1}),
        ("lost", "x"),
    ],
)
def test_an_entry_of_another_kind_is_refused_by_name(name: str, wrong: Any) -> None:
    with pytest.raises(UsageError, match=name):
        RunRecord.from_json(values(**{name: wrong}))


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"attempts is 'x'.*; mesh is 3"):
        RunRecord.from_json(values(attempts="x", mesh=3))


def test_the_note_of_a_file_replaces_that_of_an_earlier_one() -> None:
    record = RunRecord("started", tiny_config()).with_file("a.mp4", "a GIF").with_file("b.glb", "flat", {"faces": 3})
    assert (record.export_notes, record.mesh) == ({"a.mp4": "a GIF", "b.glb": "flat"}, {"faces": 3})
    assert record.with_file("a.mp4", "").export_notes == {"b.glb": "flat"}
