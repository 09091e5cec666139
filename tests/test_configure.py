"""`configure`: one configuration from a prompt or a Config, keywords and settings by name, as the flags give it."""

import inspect
import io
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dreamfields.api import Run, configure, generate, start
from dreamfields.cli.generate import Generate
from dreamfields.cli.main import parse
from dreamfields.cli.options import list_options
from dreamfields.config import Config, setting_paths
from dreamfields.errors import UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.settings import PromptSettings
from dreamfields.presets import DEFAULT, PRESETS
from tests.support.toys import PROMPT, TINY, TINY_EXPORT, tiny_config


def refusal(*arguments: Any, **keywords: Any) -> str:
    with pytest.raises(UsageError) as caught:
        configure(*arguments, **keywords)
    return str(caught.value)


def by_flags(*arguments: str) -> Config:
    command = parse(["generate", PROMPT, *arguments], Console(file=io.StringIO()))
    assert isinstance(command, Generate)
    return command.configuration


@pytest.mark.parametrize("function", [generate, start])
def test_all_ways_to_a_run_take_the_same_arguments(function: Callable[..., Run]) -> None:
    parameters = dict(inspect.signature(function).parameters)
    assert parameters.pop("out").default == "runs"
    assert parameters == dict(inspect.signature(configure).parameters)


def test_a_prompt_alone_is_the_default_preset() -> None:
    preset = PRESETS[DEFAULT]
    assert configure(PROMPT) == Config(PROMPT, recipe=preset.recipe, export=preset.export)


def test_names_are_those_of_the_flags() -> None:
    own = {"preset", "config", "out", "steps", "guidance", "init"}
    flags = {option.name.removeprefix("--").replace("-", "_") for option in list_options(Generate) if option.is_flag}
    assert set(setting_paths()) == (flags - own) | {"prompt"}


@pytest.mark.parametrize(
    ("keywords", "flags"),
    [
        ({}, ""),
        ({"preset": "draft", "seed": 3, "steps": 7}, "--preset draft --seed 3 --steps 7"),
        ({"guidance": "toy", "device": "cpu", "threads": 1}, "--guidance toy --device cpu --threads 1"),
        ({"settings": {"optimize.steps": 5, "render.size": 96}}, "--optimize.steps 5 --render.size 96"),
        ({"settings": {"negative_prompt": "mug"}}, "--negative-prompt mug"),
        ({"settings": {"negative-prompt": "mug"}}, "--negative-prompt mug"),
        ({"settings": {"export.video-size": 128}}, "--export.video-size 128"),
        ({"settings": {"steps": 5, "guidance": "toy"}}, "--steps 5 --guidance toy"),
        ({"settings": {"augment.scale": [0.5, 0.6]}}, "--augment.scale 0.5 0.6"),
        ({"settings": {"paraphrases": ["ball", "globe"]}}, "--paraphrases ball globe"),
        ({"settings": {"field": "mlp", "export.level": 3.0}}, "--field mlp --export.level 3"),
    ],
)
def test_keywords_and_settings_equal_the_flags(keywords: dict[str, Any], flags: str) -> None:
    assert configure(PROMPT, **keywords) == by_flags(*flags.split())


def test_a_keyword_wins_over_a_configuration_and_all_else_is_kept() -> None:
    base = replace(tiny_config(seed=3), prompts=PromptSettings(style="glass"))
    assert configure(base) == base
    changed = configure(base, seed=4, settings={"render.size": 20, "prompt": "a cube"})
    recipe = replace(TINY, render=replace(TINY.render, size=20))
    assert changed == replace(base, prompt="a cube", seed=4, recipe=recipe)
    assert base == replace(tiny_config(seed=3), prompts=PromptSettings(style="glass"))


def test_whole_parts_replace_the_preset_s_and_single_settings_come_after() -> None:
    config = configure(
        PROMPT,
        preset="draft",
        recipe=TINY,
        export=TINY_EXPORT,
        prompts=PromptSettings(style="glass"),
        steps=9,
        settings={"export.video_frames": 5, "negative_prompt": "a mug"},
    )
    assert config.recipe == replace(TINY, optimize=replace(TINY.optimize, steps=9))
    assert config.export == replace(TINY_EXPORT, video_frames=5)
    assert config.prompts == PromptSettings(style="glass", negative_prompt="a mug")


def test_a_setting_given_twice_must_be_the_same() -> None:
    assert configure(PROMPT, steps=9, settings={"optimize.steps": 9}).recipe.optimize.steps == 9
    both = refusal(PROMPT, steps=9, seed=1, settings={"optimize.steps": 8, "seed": 2})
    assert "steps is 9 and settings['optimize.steps'] is 8; give one of them" in both
    assert "seed is 1 and settings['seed'] is 2" in both
    assert "guidance is 'lit' and settings['guidance.name'] is 'toy'" in refusal(
        PROMPT, guidance="lit", settings={"guidance.name": "toy"}
    )
    assert f"prompt is {PROMPT!r} and settings['prompt'] is 'a cube'" in refusal(PROMPT, settings={"prompt": "a cube"})
    assert "settings['negative-prompt'] is 'a' and settings['negative_prompt'] is 'b'" in refusal(
        PROMPT, settings={"negative-prompt": "a", "negative_prompt": "b"}
    )


def test_all_faults_are_named_in_one_sentence() -> None:
    said = refusal(
        "", seed=-1, recipe="draft", settings={"optimize.stesp": 3, "render.size": 0, "zzzz": 1, "voxels.levels": 1.5}
    )
    for part in (
        "the prompt is empty",
        "seed is -1; it must be from 0 to 2,147,483,647",
        "recipe is 'draft'; it must be a Recipe",
        "there is no setting called 'optimize.stesp'; did you mean 'optimize.steps'?",
        "there is no setting called 'zzzz'; dreamfields generate --help-all lists all",
    ):
        assert said.count(part) == 1
    said = refusal(PROMPT, settings={"render.size": 0, "voxels.levels": 1.5, "recipe.optimize.steps": 3})
    assert "size is 0; it must be from 1 to 2,048" in said
    assert "levels is 1.5; it must be a whole number" in said
    assert "'recipe.optimize.steps'; did you mean 'optimize.steps'?" in said


@pytest.mark.parametrize("first", [None, b"a teapot", ["a teapot"], 3, {"prompt": "a"}, Path("runs/a-teapot-0"), TINY])
def test_a_first_argument_of_the_wrong_kind_is_a_sentence(first: Any, tmp_path: Path) -> None:
    assert refusal(first).startswith("the first argument is ")
    assert 'it must be a prompt, such as "a teapot", or a Config' in refusal(first)
    with pytest.raises(UsageError, match="the first argument is"):
        start(first, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"preset": "qick"}, "no preset called 'qick'; did you mean 'quick'?"),
        ({"preset": PRESETS["draft"]}, "there is no preset called "),
        ({"preset": 3}, "there is no preset called '3'"),
        ({"settings": [1]}, "settings is [1]; it must be values by name"),
        ({"settings": {3: 1}}, "there is no setting called '3'"),
        ({"settings": {"optimize.steps": None}}, "steps is None; it must be a whole number"),
        ({"export": {"video_size": 3}}, "export is {'video_size': 3}; it must be an ExportSettings"),
        ({"prompts": "a mug"}, "prompts is 'a mug'; it must be a PromptSettings"),
        ({"guidance": "clop:x"}, "no guidance called 'clop:x'"),
        ({"steps": "many"}, "steps is 'many'; it must be a whole number"),
    ],
)
def test_a_keyword_of_the_wrong_kind_is_a_sentence(keywords: dict[str, Any], said: str) -> None:
    assert said in refusal(PROMPT, **keywords)


def test_a_preset_beside_a_configuration_is_refused() -> None:
    said = "preset is 'draft' beside a Config, which has a recipe already; leave preset out"
    assert refusal(tiny_config(), preset="draft").startswith(said)


def test_a_folder_of_the_wrong_kind_is_a_sentence() -> None:
    out: Any = 3
    with pytest.raises(UsageError, match="out is 3; it must be a folder"):
        start(tiny_config(), out)


def test_a_run_is_started_by_a_prompt_alone(tmp_path: Path) -> None:
    run = start("a red ball", tmp_path, steps=2, guidance="toy", settings={"export.video_frames": 2})
    assert (run.config.recipe.optimize.steps, run.config.recipe.guidance.name) == (2, "toy")
    assert run.config.export == replace(ExportSettings(), video_frames=2)
    assert {entry.name for entry in fields(Config)} == set(run.config.to_json())
