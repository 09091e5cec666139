"""Settings from a file: read as JSON or YAML, over the preset and under the flags."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dreamfields.cli.config_file import read_config
from dreamfields.cli.main import main
from dreamfields.config import Config
from dreamfields.guidance.settings import PromptSettings
from dreamfields.presets import PRESETS
from dreamfields.runs.directory import RunDirectory
from dreamfields.settings import merge
from tests.cli.test_cli import configured, flat, no_heavy_packages, run_light
from tests.support.toys import PROMPT

__all__ = ["no_heavy_packages"]  # A fixture that is shared.

QUICK = dict(flat(Config(PROMPT).to_json()))


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changes(*words: str) -> dict[str, Any]:
    """Return what `generate` with these words differs in from preset quick, by dotted name."""
    found = configured(*words)
    return {name: value for name, value in found.items() if value != QUICK[name]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recipe: {optimize: {steps: 100}}", {"recipe.optimize.steps": 100}),
        ('{"recipe":\t{"optimize": {"steps": 100}}}', {"recipe.optimize.steps": 100}),
        ("config:\n  seed: 5\nstatus: finished", {"seed": 5}),
        ("recipe: {optimize: {adam_eps: 1e-5}}", {"recipe.optimize.adam_eps": 1e-5}),
        (
            "recipe: {cameras: {track: on, fov_deg: [30, 35.5]}}",
            {"recipe.cameras.track": "on", "recipe.cameras.fov_deg": (30, 35.5)},
        ),
        ("recipe: {guidance: {alternate: false}}", {"recipe.guidance.alternate": False}),
        (
            "prompts: {style: off, paraphrases: [2024-05-01]}",
            {"prompts.style": "off", "prompts.paraphrases": ("2024-05-01",)},
        ),
        ("export: {level: 3, mesh_cells: 32}\nthreads: 2", {"export.level": 3, "export.mesh_cells": 32, "threads": 2}),
        ("export: {level: null}", {}),
        (
            "recipe: {mlp: {degree: 4}, render: {plaster: 0.5}}",
            {"recipe.mlp.max_octave": 4, "recipe.render.textureless": 0.5},
        ),
    ],
)
def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    assert changes("--config", str(written(tmp_path, text))) == expected


def test_flags_override_the_file_and_the_file_overrides_the_preset(tmp_path: Path) -> None:
    path = written(tmp_path, "seed: 4\nrecipe: {optimize: {steps: 50, views: 2}}")
    draft = PRESETS["draft"]
    expected = Config(
        PROMPT,
        seed=4,
        recipe=replace(draft.recipe, optimize=replace(draft.recipe.optimize, steps=50, views=2)),
        export=draft.export,
    )
    assert configured("--preset", "draft", f"--config={path}") == dict(flat(expected.to_json()))
    assert changes("--config", str(path), "--steps", "7", "--seed=0", "--optimize.views", "1") == {
        "recipe.optimize.steps": 7,
        "recipe.optimize.views": 1,
    }
    assert changes("--optimize.steps", "8", "--config", str(path))["recipe.optimize.steps"] == 8


@pytest.mark.parametrize("preset", PRESETS)
def test_the_record_of_a_run_makes_the_same_run_again(tmp_path: Path, preset: str) -> None:
    config = Config(
        "a blue cube",
        seed=3,
        threads=2,
        prompts=PromptSettings(style="made of glass", paraphrases=("a cube",)),
        recipe=PRESETS[preset].recipe,
        export=PRESETS[preset].export,
    )
    RunDirectory(tmp_path).write_record({"format": 1, "status": "finished", "config": config.to_json()})
    expected = dict(flat(replace(config, prompt=PROMPT).to_json()))
    for source in (tmp_path / "run.json", tmp_path):
        assert configured("--config", str(source)) == expected


def test_the_prompt_may_be_in_the_file(no_heavy_packages: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "prompt: a red ball\nrecipe: {guidance: {name: toy}}")
    RunDirectory(tmp_path / "a-red-ball-0").write_record({})
    done = run_light(no_heavy_packages, "generate", "--config", str(path), "--out", str(tmp_path))
    assert "a-red-ball-0 already holds a run" in done.stderr
    done = run_light(no_heavy_packages, "generate", "--config", str(written(tmp_path, "seed: 1")))
    assert (done.returncode, "the prompt is empty" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sede: 1", "no setting of Config called 'sede'; did you mean 'seed'?"),
        ("recipe: {optimise: {steps: 1}}", "no setting of Recipe called 'optimise'; did you mean 'optimize'?"),
        ("recipe: {optimize: {step: 1}}", "no setting of OptimizeSettings called 'step'; did you mean 'steps'?"),
        ("recipe: {optimize: {steps: many}}", "steps is 'many'; it must be a whole number"),
        ("seed: -1\nthreads: x", "seed is -1"),
        ("seed: -1\nthreads: x", "threads is 'x'"),
        ("recipe: 3", "recipe is 3"),
        ("recipe: null", "recipe is None"),
        ("5: 3", "called '5'"),
        ("recipe: {optimize: {true: 3}}", "called 'True'"),
        ("- seed", "holds no settings; write, for example: recipe: {optimize: {steps: 100}}"),
        ("", "holds no settings"),
        ("seed: [", "cannot be read"),
        ("seed: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("{" * 5000, "cannot be read"),
        ("[" * 50_000, "cannot be read"),
        ("seed: \x00", "cannot be read"),
        ("seed: &a [*a]", "seed is"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, text)
    assert main(["generate", PROMPT, "--config", str(path)]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert said in sentence
    assert str(path) in sentence


def test_a_setting_that_is_gone_is_refused_unless_it_did_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dreamfields.runs.upgrade.REMOVED", {"losses.old": 0.0})
    assert changes("--config", str(written(tmp_path, "recipe: {losses: {old: 0.0}}"))) == {}
    assert main(["generate", PROMPT, "--config", str(written(tmp_path, "recipe: {losses: {old: 1.0}}"))]) == 2
    assert "sets losses.old, which this version no longer has; take it out" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        assert main(["generate", PROMPT, "--config", str(path)]) == 2
        assert f"--config {path} cannot be read" in capsys.readouterr().err


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(written(tmp_path, "seed: 6"))
    assert read_config(tmp_path / "link.yaml") == {"seed": 6}


def test_merging_goes_into_what_both_have_and_changes_neither() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    copy = json.loads(json.dumps(base))
    assert merge(base, {"a": {"c": 4, "e": {"f": 5}}, "d": {"g": 6}}) == {
        "a": {"b": 1, "c": 4, "e": {"f": 5}},
        "d": {"g": 6},
    }
    assert base == copy
