"""What README and docs tell people to type works: Python runs, on tiny runs, commands and JSON are understood."""

import io
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from rich.console import Console

from dreamfields import presets
from dreamfields.api import Run, start
from dreamfields.cli.main import parse
from dreamfields.export.pictures.paths import poses, read_path
from dreamfields.presets import Preset
from dreamfields.runs.directory import RunDirectory
from tests.support.architecture import ROOT
from tests.support.clips import make_folder
from tests.support.toys import TINY, TINY_EXPORT, tiny_config

FOUND = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
PAGES: Mapping[str, str] = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted(FOUND)}


def commands_in(text: str) -> list[str]:
    """Return the arguments of each command that begins a line, and of lines of flags in indented blocks."""
    found = []
    for line in text.splitlines():
        command = line.strip().removeprefix("`").split("`")[0].split("  #")[0].strip()
        if re.match(r" *`?dreamfields [a-z]+ ", f"{line} ") and "[--" not in line and "COMMAND" not in line:
            found.append(command.removeprefix("dreamfields "))
        elif re.match(r"    --[a-z]", line):
            found.append(f'generate "a teapot" {command}')
    return found


def blocks_in(language: str) -> list[tuple[str, str]]:
    """Return each fenced block of a language with the page it is on."""
    pattern = re.compile(rf"```{language}\n(.*?)```", flags=re.DOTALL)
    return [(name, block) for name, text in PAGES.items() for block in pattern.findall(text)]


COMMANDS = [(name, command) for name, text in PAGES.items() for command in commands_in(text)]
PYTHON, JSON = blocks_in("python"), blocks_in("json")


def ids(blocks: list[tuple[str, str]]) -> list[str]:
    return [f"{name}-{index}" for index, (name, _) in enumerate(blocks)]


@pytest.fixture(scope="module")
def teapot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny finished run."""
    run = start(tiny_config(prompt="a teapot"), tmp_path_factory.mktemp("made"))
    for _ in run.steps():
        pass
    run.finish()
    return run.path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, where every preset is tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "PRESETS", {name: Preset("tiny", TINY, TINY_EXPORT) for name in presets.PRESETS})
    return tmp_path


def test_there_are_commands_and_blocks_to_check() -> None:
    assert len(COMMANDS) > 40
    assert {"README.md", "docs/gallery/README.md", "docs/guidance.md", "docs/export.md"} <= {
        name for name, _ in COMMANDS
    }
    assert ("docs/guidance.md", 'generate "a teapot" --guidance.name "lit:2+clip:/models/b16:1@0.3"') in COMMANDS
    pages = {"README.md", *(f"docs/{name}.md" for name in ("prompts", "python", "export", "guidance", "architecture"))}
    assert {name for name, _ in PYTHON} >= pages
    assert len(JSON) >= 4


@pytest.mark.parametrize(("name", "block"), PYTHON, ids=ids(PYTHON))
def test_a_block_of_python_runs(name: str, block: str, folder: Path, teapot: Path) -> None:
    if "models/clip" in block:
        make_folder(folder / "models" / "clip-vit-base-patch16")
    if '"runs/a-teapot-0"' in block:  # A run of that name is there already.
        shutil.copytree(teapot, folder / "runs" / "a-teapot-0")
    threads = torch.get_num_threads()
    code = compile(block, name, "exec")
    exec(code, {"__name__": "dreamfields.pages"})  # The text of our own pages.
    torch.set_num_threads(threads)
    if name == "README.md":
        assert {path.parent.name for path in (folder / "runs").glob("*/run.json")} == {"a-teapot-0", "a-banana-3"}
        assert list(folder.glob("teapot.*"))


@pytest.mark.parametrize(("name", "block"), JSON, ids=ids(JSON))
def test_a_block_of_json_is_a_camera_path(name: str, block: str, tmp_path: Path) -> None:
    file = tmp_path / "path.json"
    file.write_text(block, encoding="utf-8")
    assert len(poses(read_path(file))) > 1


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[f"{name}: {command}" for name, command in COMMANDS])
def test_a_command_parses(name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for word in shlex.split(command):
        if word == "RUN" or word.startswith("runs/"):  # Some commands take their defaults from the run.
            Run.begin(RunDirectory(Path(word)), tiny_config())
    assert parse(shlex.split(command), Console(file=io.StringIO())) is not None
