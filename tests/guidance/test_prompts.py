"""Prompts: any text is either refused in a sentence or brought into the one form it keeps."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dreamfields.errors import UsageError
from dreamfields.guidance.prompts import LONGEST, clean_prompt, fill_template, fill_wordings, wordings

ANYTHING = st.text(alphabet=st.characters(), max_size=60)
"""Any code points at all, lone surrogates and control characters included."""


@given(ANYTHING)
@example("e\x01\N{COMBINING ACUTE ACCENT}")
@example("\N{EN QUAD}\N{OHM SIGN}\x85x\x1b[31m")
@example("\N{LINE SEPARATOR}\N{ZERO WIDTH SPACE}")
def test_any_text_is_refused_or_becomes_one_clean_line(text: str) -> None:
    try:
        cleaned = clean_prompt(text)
    except UsageError:
        return
    assert 0 < len(cleaned) <= LONGEST
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert len(cleaned.splitlines()) == 1
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in cleaned)
    cleaned.encode()
    assert clean_prompt(cleaned) == cleaned


@pytest.mark.parametrize(
    ("given_text", "used"),
    [
        ("a teapot", "a teapot"),
        ("  a\t \nteapot \r\n", "a teapot"),
        ("cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("a \x1b[31mred\x07 ball", "a [31mred ball"),
        ("x" * LONGEST, "x" * LONGEST),
        ("  " + "x" * LONGEST + "  ", "x" * LONGEST),
        ("\N{FIRE}", "\N{FIRE}"),
    ],
)
def test_what_a_prompt_becomes(given_text: str, used: str) -> None:
    assert clean_prompt(given_text) == used


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\x01\x02", "\N{EM SPACE}"])
def test_a_prompt_without_anything_to_read_is_refused(blank: str) -> None:
    with pytest.raises(UsageError, match="the prompt is empty; say what to make"):
        clean_prompt(blank)


def test_a_prompt_one_character_too_long_is_refused_with_both_lengths() -> None:
    with pytest.raises(UsageError, match=f"has {LONGEST + 1} characters; at most {LONGEST} are allowed"):
        clean_prompt("x" * (LONGEST + 1))


@pytest.mark.parametrize("bad", ["\0", "a\0b", "\ud800", "ok \udfff"])
def test_what_is_not_text_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="a character that is not text"):
        clean_prompt(bad)


def test_a_template_holds_the_prompt_where_it_says_and_without_a_final_dot() -> None:
    assert fill_template("a photo of {}", "a teapot.") == "a photo of a teapot"
    assert fill_template("{}, seen from {}", "x") == "x, seen from x"
    assert fill_template("{} on a table", "a {} {0} %s teapot") == "a {} {0} %s teapot on a table"


def test_wordings_are_parted_by_bars_in_the_template_only() -> None:
    assert wordings("a photo of {}") == ("a photo of {}",)
    assert wordings("a photo of {} | a render of {}") == ("a photo of {}", "a render of {}")
    assert fill_wordings("a photo of {}|{}, seen closely", "a | b.") == ("a photo of a | b", "a | b, seen closely")
