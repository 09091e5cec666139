"""The list of runs: quick, without torch, and with damaged runs in it."""

import json
from pathlib import Path

import pytest

from dreamfields.cli.main import main
from dreamfields.cli.runs import summarize
from dreamfields.config import Config
from dreamfields.runs.directory import RunDirectory
from tests.cli.test_cli import no_heavy_packages, run_light

__all__ = ["no_heavy_packages"]  # A fixture that is shared.


def line(score: object) -> str:
    return json.dumps({"index": 1, "score": score})


def make_run(folder: Path, prompt: str, seed: int = 0, scores: tuple[float, ...] = ()) -> RunDirectory:
    directory = RunDirectory(folder / f"{prompt.split()[-1]}-{seed}")
    config = Config(prompt, seed=seed)
    directory.write_record({"format": 1, "status": "finished", "seconds": 61.4, "config": config.to_json()})
    if scores:
        directory.metrics.write_text("".join(f"{line(score)}\n" for score in scores))
    return directory


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with two whole runs, three damaged ones and something else."""
    make_run(tmp_path, "a [red] ball", 1, (0.1, 0.2, 0.3))
    make_run(tmp_path, "a :cat: cube")
    for name, text in (("broken", "{"), ("foreign", '{"format": 99}'), ("invalid", '{"format": 1, "status": "x"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    (tmp_path / "other").mkdir()
    (tmp_path / "file").write_text("")
    return tmp_path


def test_the_table_has_every_run_and_says_what_is_wrong(no_heavy_packages: Path, runs: Path) -> None:
    done = run_light(no_heavy_packages, "runs", str(runs))
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row.split("│")[1].strip(): row for row in done.stdout.splitlines() if row.count("│") > 5}
    for text in ("a [red] ball", " 1 ", "finished", "0.200", "61 s"):
        assert text in rows["ball-1"]
    assert "a :cat: cube" in rows["cube-0"]
    for name in ("broken", "foreign", "invalid"):
        assert "damaged" in rows[name]
    assert "other" not in rows


def test_json_is_one_object_a_line(no_heavy_packages: Path, runs: Path) -> None:
    done = run_light(no_heavy_packages, "runs", str(runs), "--json")
    found = {one["run"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert list(found) == ["ball-1", "broken", "cube-0", "foreign", "invalid"]
    assert found["ball-1"] == {
        "run": "ball-1",
        "prompt": "a [red] ball",
        "seed": 1,
        "status": "finished",
        "score": pytest.approx(0.2),
        "seconds": 61.4,
        "error": None,
    }
    assert found["cube-0"]["score"] is None
    assert "cannot be read" in found["broken"]["error"]
    assert found["broken"]["prompt"] is None


def test_a_run_itself_an_empty_folder_and_none(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs / "ball-1"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "ball-1"
    assert main(["runs", str(runs / "other")]) == 0
    assert capsys.readouterr().out == f"there are no runs in {runs / 'other'}\n"
    assert main(["runs", str(runs / "other"), "--json"]) == 0
    assert capsys.readouterr().out == ""
    for folder in ("missing", "file"):
        assert main(["runs", str(runs / folder)]) == 2
        assert f"there is no folder {runs / folder}" in capsys.readouterr().err


def test_metrics_that_are_no_file_are_no_score(tmp_path: Path) -> None:
    directory = make_run(tmp_path, "a ball")
    assert summarize(directory.path).score is None
    directory.metrics.mkdir()
    assert summarize(directory.path).score is None
