"""Clock, time zone, language, permissions of new files and home change nothing, and a lost folder is one sentence."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dreamfields import api
from dreamfields.cli.main import main
from tests.reliability.test_kills import config_of, final_files

ODD: Mapping[str, Mapping[str, str | None]] = {
    "no home": {"HOME": None, "XDG_CACHE_HOME": None},
    "a clock of the other side of the date line": {"TZ": "Pacific/Kiritimati"},
    "a time zone that does not exist": {"TZ": "Nowhere/Land"},
    "plain C": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def resumed(run: Path, changes: Mapping[str, str | None], umask: int = -1) -> dict[str, str]:
    """Go on with a run by the real command in changed surroundings, and return what it left."""
    surroundings = {name: value for name, value in {**os.environ, **changes}.items() if value is not None}
    command = [sys.executable, "-m", "dreamfields", "resume", str(run)]
    subprocess.run(command, check=True, env=surroundings, umask=umask, stdout=subprocess.DEVNULL)
    return final_files(run)


@pytest.mark.reliability
def test_the_surroundings_change_nothing(tmp_path: Path) -> None:
    config = config_of(0, 6)
    plain = resumed(api.start(config, tmp_path / "plain").path, {})
    for name, changes in ODD.items():
        assert resumed(api.start(config, tmp_path / name).path, changes) == plain, name
    assert resumed(api.start(config, tmp_path / "private").path, {}, umask=0o077) == plain


def test_a_folder_that_has_been_deleted_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = tmp_path / "lost"
    lost.mkdir()
    monkeypatch.chdir(lost)
    lost.rmdir()
    assert main(["generate", "a red ball", "--guidance.name", "toy"]) == 4
    words = capsys.readouterr().err
    assert "the current folder has been deleted; go to another one with cd and try again" in " ".join(words.split())
