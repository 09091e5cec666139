"""Settings of earlier versions: renamed ones keep their values, and of removed ones a run says what it loses."""

from typing import Any

import pytest

from dreamfields.config import Config
from dreamfields.errors import UsageError
from dreamfields.runs.record import RunRecord
from dreamfields.runs.upgrade import ADDED, REMOVED, RENAMED, complete_config, upgrade_config, upgrade_identity

OTHERS: dict[str, Any] = {
    "cameras.close_ups": 0.25,
    "cameras.radius_spread": 0.1,
    "export.smoothing": 5,
    "guidance.bridge": "both",
    "losses.total_variation": 0.01,
}
"""A value of each removed setting that is not its default."""


def old(name: str, value: Any) -> dict[str, Any]:
    """Return a configuration that holds one setting of an earlier version."""
    part, setting = name.split(".")
    table = {part: {setting: value}}
    return {"prompt": "a red ball", **(table if part == "export" else {"recipe": table})}


def settings(config: dict[str, Any], name: str) -> Any:
    return (config if name.startswith("export.") else config["recipe"])[name.split(".")[0]]


def test_no_removed_setting_is_present_or_renamed() -> None:
    assert OTHERS.keys() == REMOVED.keys()
    for name in REMOVED:
        assert name.split(".")[1] not in settings(Config("a red ball").to_json(), name)
    assert not REMOVED.keys() & (RENAMED.keys() | set(RENAMED.values()))


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_setting_keeps_its_value(name: str) -> None:
    present = RENAMED[name]
    default = settings(Config("a red ball").to_json(), present)[present.split(".")[1]]
    config, lost = upgrade_config(old(name, default))
    assert (settings(config, present), lost) == ({present.split(".")[1]: default}, {})
    assert Config.from_json(config).recipe == Config("a red ball").recipe
    assert upgrade_identity({name: default, "seed": 1}) == {present: default, "seed": 1}


@pytest.mark.parametrize("name", OTHERS)
def test_a_removed_setting_at_its_default_is_passed_over_in_silence(name: str) -> None:
    config, lost = upgrade_config(old(name, REMOVED[name]))
    assert (settings(config, name), lost) == ({}, {})
    assert Config.from_json(config) == Config("a red ball")


@pytest.mark.parametrize("name", OTHERS)
def test_a_removed_setting_in_use_is_kept_as_lost_and_becomes_a_note(name: str) -> None:
    record = RunRecord.from_json({"format": 1, "status": "started", "config": old(name, OTHERS[name])})
    before = Config.from_json(complete_config({"prompt": "a red ball"}))
    assert (record.config.recipe, record.lost) == (before.recipe, {name: OTHERS[name]})
    (note,) = record.all_notes
    assert note == f"{name} was {OTHERS[name]!r}; this version has no such setting, and goes on without it"
    assert RunRecord.from_json(record.to_json()).all_notes == (note,)  # Written once, it is said from then on.


@pytest.mark.parametrize("name", OTHERS)
def test_a_removed_setting_tells_no_checkpoint_from_another(name: str) -> None:
    assert upgrade_identity({name: OTHERS[name], "prompt": "a red ball"}) == {"prompt": "a red ball"}


def test_an_unknown_setting_is_still_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'levels'"):
        Config.from_json(upgrade_config(old("voxels.levles", 3))[0])
    for recipe in ([1], {"voxels": [1]}, 3):
        with pytest.raises(UsageError):
            Config.from_json(upgrade_config({"prompt": "a", "recipe": recipe})[0])


@pytest.mark.parametrize("prompts", [{}, {"prompts": {"style": "wooden"}}])
def test_a_run_from_before_a_setting_goes_on_as_it_began(prompts: dict[str, Any]) -> None:
    record = RunRecord.from_json({"format": 1, "status": "started", "config": {"prompt": "a red ball", **prompts}})
    assert record.config.prompts.sides == "never" != Config("a red ball").prompts.sides
    assert RunRecord.from_json(RunRecord("started", Config("a red ball")).to_json()).config == Config("a red ball")
    assert record.config.recipe.init.source == "none" != Config("a red ball").recipe.init.source
    whole = Config("a red ball").to_json()
    assert complete_config(whole) == whole
    for name, before in ADDED.items():
        *parts, setting = name.split(".")
        there, completed = whole, complete_config({})
        for part in parts:
            there, completed = there[part], completed[part]
        assert setting in there
        assert completed[setting] == before
    for broken in ({"prompts": 3}, {"recipe": 3}, {"recipe": {"init": 3}}):
        with pytest.raises(UsageError):
            RunRecord.from_json({"format": 1, "status": "started", "config": {"prompt": "a red ball", **broken}})
