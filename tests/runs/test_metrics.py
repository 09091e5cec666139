"""Reading metrics: torn lines are skipped, and the score is the mean of the last steps."""

import json
from pathlib import Path

import pytest

from dreamfields.errors import StorageError
from dreamfields.runs.metrics import last_index, last_score, read_metrics


def line(score: object, index: int = 1, attempt: int = 0) -> str:
    return json.dumps({"index": index, "attempt": attempt, "score": score})


@pytest.mark.parametrize(
    ("lines", "score"),
    [
        ([], None),
        ([line(0.5)], 0.5),
        ([line(9.0)] * 50 + [line(0.25)] * 20, 0.25),
        ([line(0.5), line(None), '{"score": 1', "[]", "7", "\xff", '{"score": "x"}'], 0.5),
        (['{"score": NaN}', '{"score": 1e999}', '{"score": 1' + "0" * 400 + "}"], None),
        ([line(0.5)] * 2000, 0.5),
    ],
)
def test_the_score_is_the_mean_of_the_last_steps(tmp_path: Path, lines: list[str], score: float | None) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(lines), encoding="latin-1")
    assert last_score(path) == (score if score is None else pytest.approx(score))


def test_each_whole_line_is_a_step_and_torn_ones_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join([line(0.5, 1), '{"index": 2, "att', "[]", "\xff", line(None, 3)]), encoding="latin-1")
    assert read_metrics(path) == [json.loads(line(0.5, 1)), json.loads(line(None, 3))]
    assert last_index(path) == 3
    path.write_text("\n".join([line(0.5, 700), line(0.5, 1, attempt=1), '{"index": 2']))
    assert last_index(path) == 1


def test_without_a_file_there_are_no_steps(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        assert (read_metrics(path), last_index(path), last_score(path)) == ([], None, None)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "metrics.jsonl"
    path.write_text(line(0.5))
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(StorageError, match=r"metrics\.jsonl: Permission denied"):
        read_metrics(path)
