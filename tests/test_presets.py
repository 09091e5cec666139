"""Presets: plain values under names, each one a whole recipe."""

import pytest

from dreamfields.errors import UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.presets import DEFAULT, PRESETS, preset


def test_there_are_three_of_ours_and_three_of_the_paper_and_the_default_is_quick() -> None:
    assert list(PRESETS) == ["draft", "quick", "standard", "paper-lq", "paper-mq", "paper-hq"]
    assert DEFAULT == "quick"
    assert preset(DEFAULT) is PRESETS["quick"]


def test_quick_is_what_the_settings_say_by_themselves() -> None:
    assert (PRESETS["quick"].recipe, PRESETS["quick"].export) == (Recipe(), ExportSettings())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json_and_says_what_it_costs(name: str) -> None:
    chosen = PRESETS[name]
    assert Recipe.from_json(chosen.recipe.to_json()) == chosen.recipe
    assert ExportSettings.from_json(chosen.export.to_json()) == chosen.export
    assert "minutes" in chosen.summary or "seconds" in chosen.summary
    assert "\n" not in chosen.summary


def test_each_takes_more_steps_than_the_last() -> None:
    steps = [PRESETS[name].recipe.optimize.steps for name in ("draft", "quick", "standard")]
    assert steps == sorted(set(steps))


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no preset called 'standart'; did you mean 'standard'"):
        preset("standart")
    with pytest.raises(UsageError, match="known: draft, paper-hq, paper-lq, paper-mq, quick, standard"):
        preset("x")


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PRESETS["draft"] = PRESETS["quick"]  # type: ignore[index]
