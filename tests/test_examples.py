"""The examples run as they stand, on the weightless guidance, and stay short enough to be read at a glance."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamfields import presets
from dreamfields.presets import Preset
from tests.support.architecture import ROOT
from tests.support.toys import TINY, TINY_EXPORT, tiny_config

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TOY: dict[str, dict[str, Any]] = {
    "00_hello": {"prompt": "a red ball", "steps": 2},
    "01_stop_and_resume": {"prompt": "a red ball", "steps": 4},
    "02_steer_the_prompt": {"steps": 2},
    "03_render_and_export": {"run": Path("runs/a-red-ball-0"), "size": 16},
    "04_own_guidance": {"steps": 3},
}
"""Arguments that make each example cheap."""


@pytest.fixture
def main_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[..., None]]:
    """Return the `main` of an example by name, to be called in an empty folder, where the preset `draft` is tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "PRESETS", {"draft": Preset("tiny", TINY, TINY_EXPORT)})

    def load(name: str) -> Callable[..., None]:
        spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        main: Callable[..., None] = module.main
        return main

    return load


def test_there_are_arguments_for_every_example() -> None:
    assert [path.stem for path in EXAMPLES] == sorted(TOY)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 40


@pytest.mark.parametrize("name", sorted(TOY))
def test_an_example_runs(
    name: str, main_of: Callable[[str], Callable[..., None]], capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "03_render_and_export":
        from dreamfields import start

        run = start(tiny_config())
        list(run.steps())
    main_of(name)(**TOY[name])
    assert capsys.readouterr().out.strip()
