"""What the text tower can read, told without torch: English, and nothing in letters of another script."""

import subprocess
import sys

import pytest

from dreamfields.guidance.lit.words import unknown_words


@pytest.mark.parametrize(
    "text",
    [
        "a teapot",
        "A TEAPOT",
        "a naïve café, 3 x 4",
        "a snow-white owl's nest!",
        "eine Teekanne",
        "a glorbnaxian",
        "½ €",
    ],
)
def test_words_in_latin_letters_can_be_read(text: str) -> None:
    assert unknown_words(text) == ()


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("茶壶", ("茶壶",)),
        ("a red 茶壶 teapot", ("茶壶",)),
        ("a 🫖 of 茶", ("🫖", "茶")),
        ("красный чайник", ("красный", "чайник")),
        ("ティーポット", ("ティーポット",)),
        ("κόκκινο teapot", ("κόκκινο",)),
        ("إبريق شاي", ("إبريق", "شاي")),
        ("\N{FULLWIDTH LATIN SMALL LETTER T}ea", ("\N{FULLWIDTH LATIN SMALL LETTER T}ea",)),
    ],
)
def test_other_words_are_named(text: str, unknown: tuple[str, ...]) -> None:
    assert unknown_words(text) == unknown


def test_it_takes_no_torch() -> None:
    code = """
import sys
from dreamfields.guidance.lit.words import unknown_words
print(unknown_words("a"), "torch" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "() False\n", ended.stderr
