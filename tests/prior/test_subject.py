"""The words of a prompt that name its thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.prior.subject import central_phrase, central_phrases


@pytest.mark.parametrize(
    ("prompt", "phrase"),
    [
        ("a castle made of cheese", "a castle"),
        ("a robot holding a flower", "a robot"),
        ("a green dragon with wings", "a green dragon"),
        ("a tall red and white lighthouse", "a tall red and white lighthouse"),
        ("a cat and a dog", "a cat"),
        ("a bowl of fruit on a wooden table", "a bowl of fruit"),
        ("a marble statue of a lion", "a marble statue of a lion"),
        ("a snowman with a carrot nose and a red scarf", "a snowman"),
        ("an armchair in the shape of an avocado", "an armchair"),
        ("a flying saucer", "a flying saucer"),
        ("a wooden rocking horse", "a wooden rocking horse"),
        ("A treasure chest full of gold coins.", "A treasure chest"),
        ("a teapot, blue and white porcelain", "a teapot"),
        ("teapot", "teapot"),
        ("standing lamp", "standing lamp"),
        ("salt and pepper", "salt"),
        ("a", "a"),
        ("...", "..."),
    ],
)
def test_a_phrase_ends_where_it_names_no_more(prompt: str, phrase: str) -> None:
    assert central_phrase(prompt) == phrase


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("a tall red lighthouse", ("a tall red lighthouse", "a red lighthouse", "a lighthouse")),
        ("a red and white lighthouse", ("a red and white lighthouse", "a white lighthouse", "a lighthouse")),
        ("a marble statue of a lion", ("a marble statue of a lion", "a statue of a lion", "a lion")),
        ("a bouquet of sunflowers in a vase", ("a bouquet of sunflowers", "sunflowers")),
        ("of mice", ("of mice",)),
        ("the end of", ("the end of",)),
        ("of", ("of",)),
    ],
)
def test_what_describes_a_thing_is_left_out_word_by_word(prompt: str, phrases: tuple[str, ...]) -> None:
    assert central_phrases(prompt) == phrases


@given(st.text(min_size=1).filter(str.strip))
def test_a_phrase_is_never_empty_and_a_beginning_of_the_prompt(prompt: str) -> None:
    phrase = central_phrase(prompt)
    assert phrase
    assert " ".join(prompt.split()).startswith(phrase)
    assert central_phrase(phrase) == phrase
