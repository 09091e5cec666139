"""What README and docs tell people to type works: Python blocks run, on the weightless guidance, and commands parse."""

import io
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

import dreamfields.api  # noqa: F401 - loaded first, so that it keeps the real `Config`, which a fixture replaces
from dreamfields import presets
from dreamfields.cli.main import parse
from dreamfields.presets import Preset
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.run import Run
from tests.support.architecture import ROOT
from tests.support.toys import TINY, TINY_EXPORT, tiny_config

README = (ROOT / "README.md").read_text("utf-8")
PAGES: Mapping[str, str] = {"README.md": README} | {
    path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))
}
COMMANDS = [
    (name, line.strip().removeprefix("dreamfields ").split("  #")[0].strip())
    for name, text in PAGES.items()
    for line in text.splitlines()
    if re.match(r" *dreamfields [a-z]+ ", f"{line} ") and "[--" not in line and "COMMAND" not in line
]
# Other pages' blocks need a model or a run of a certain name.
BLOCKS = [
    (name, block)
    for name in ("README.md", "prompts.md")
    for block in re.findall(r"```python\n(.*?)```", PAGES.get(name, ""), flags=re.DOTALL)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, where every preset and the default recipe are tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "PRESETS", {name: Preset("tiny", TINY, TINY_EXPORT) for name in presets.PRESETS})
    monkeypatch.setattr("dreamfields.config.Config", lambda prompt, seed=0: tiny_config(prompt=prompt, seed=seed))
    return tmp_path


def test_there_are_commands_and_blocks_to_check() -> None:
    assert len(COMMANDS) > 20
    assert {name for name, _ in BLOCKS} == {"README.md", "prompts.md"}


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[f"{name}-{index}" for index, (name, _) in enumerate(BLOCKS)])
def test_a_block_of_python_runs(name: str, block: str, folder: Path) -> None:
    code = compile(block, name, "exec")
    exec(code, {"__name__": "__main__"})  # The text of our own pages.
    assert list((folder / "runs").glob("*/run.json"))


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[f"{name}: {command}" for name, command in COMMANDS])
def test_a_command_parses(name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for word in shlex.split(command):
        if word == "RUN" or word.startswith("runs/"):  # Some commands take their defaults from the run.
            Run.begin(RunDirectory(Path(word)), tiny_config())
    assert parse(shlex.split(command), Console(file=io.StringIO())) is not None
