"""What is checked before torch is loaded: here, that every text of a new run has a word that its guidance can read."""

from dataclasses import replace

import pytest

from dreamfields.config import Config
from dreamfields.errors import UsageError
from dreamfields.guidance.settings import PromptSettings
from dreamfields.runs.checks import check_readable


@pytest.mark.parametrize(
    ("prompts", "name"),
    [
        (PromptSettings(negative_prompt="杯"), "negative_prompt"),
        (PromptSettings(paraphrases=("a kettle", "壶")), "paraphrases"),
        (PromptSettings(azimuth_prompts=("front:a {}", "back:{} 背")), "azimuth_prompts"),
        (PromptSettings(geometry_prompt="壶"), "geometry_prompt"),
        (PromptSettings(style="青花"), "style"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_text_is_read(prompts: PromptSettings, name: str) -> None:
    config = Config("a teapot", prompts=prompts)
    with pytest.raises(UsageError, match=f"lit can read no word of {name}"):
        check_readable(config)
    toy = replace(config.recipe, guidance=replace(config.recipe.guidance, name="toy"))
    check_readable(replace(config, recipe=toy))


def test_texts_without_a_word_of_their_own_pass() -> None:
    check_readable(Config("a teapot", prompts=PromptSettings(azimuth_prompts=("front:{}", "back:{}, back view"))))


def test_sides_that_no_model_can_tell_are_refused() -> None:
    config = Config("a cat", prompts=PromptSettings(sides="always"))
    check_readable(config)
    alone = replace(config.recipe.guidance, mode="closed-form")
    with pytest.raises(UsageError, match="lit in closed form cannot tell them; guide with"):
        check_readable(replace(config, recipe=replace(config.recipe, guidance=alone)))
    # The toy can.
    joined = replace(alone, name="lit+toy")
    check_readable(replace(config, recipe=replace(config.recipe, guidance=joined)))
    check_readable(Config("a cat", recipe=replace(config.recipe, guidance=alone)))
