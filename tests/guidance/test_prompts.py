"""Prompts: any text is refused or brought into one normal form; weights of wordings are a partition of the circle."""

import math
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dreamfields.errors import UsageError
from dreamfields.guidance.prompts import (
    ANYWHERE,
    LONGEST,
    SIDES,
    AzimuthPrompt,
    azimuth_weights,
    clean_prompt,
    fill_template,
    fill_wordings,
    parse_azimuth_prompts,
    sides_seen,
    wordings,
)

ANCHORS = st.lists(st.integers(0, 359), min_size=1, max_size=6, unique=True).map(lambda found: tuple(sorted(found)))
AZIMUTHS = st.floats(-720.0, 720.0)
FOUR = (0.0, 90.0, 180.0, 270.0)
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


@given(AZIMUTHS, ANCHORS)
def test_weights_sum_to_1_and_none_is_negative(azimuth_deg: float, anchors: tuple[int, ...]) -> None:
    weights = azimuth_weights(azimuth_deg, anchors)
    assert len(weights) == len(anchors)
    assert sum(weights) == pytest.approx(1.0, abs=1e-12)
    assert all(0.0 <= weight <= 1.0 for weight in weights)
    assert sum(weight > 0.0 for weight in weights) <= 2


@given(AZIMUTHS, ANCHORS)
def test_weights_are_the_same_after_a_turn(azimuth_deg: float, anchors: tuple[int, ...]) -> None:
    there, back = azimuth_weights(azimuth_deg, anchors), azimuth_weights(azimuth_deg + 360.0, anchors)
    assert there == pytest.approx(back, abs=1e-9)


@given(AZIMUTHS, ANCHORS)
def test_weights_change_no_faster_than_their_slope_allows(azimuth_deg: float, anchors: tuple[int, ...]) -> None:
    step = 1e-4
    gap = min(((b - a) % 360.0 or 360.0) for a, b in zip(anchors, anchors[1:] + anchors[:1], strict=True))
    here, there = azimuth_weights(azimuth_deg, anchors), azimuth_weights(azimuth_deg + step, anchors)
    assert max(abs(a - b) for a, b in zip(here, there, strict=True)) <= 0.5 * math.pi / gap * step + 1e-9


@given(ANCHORS)
def test_at_its_own_azimuth_a_wording_counts_alone(anchors: tuple[int, ...]) -> None:
    for index, anchor in enumerate(anchors):
        assert azimuth_weights(anchor, anchors)[index] == 1.0


def test_half_way_both_count_the_same_and_near_one_the_other_hardly_at_all() -> None:
    assert azimuth_weights(45.0, FOUR) == pytest.approx((0.5, 0.5, 0.0, 0.0))
    assert azimuth_weights(-45.0, FOUR) == pytest.approx((0.5, 0.0, 0.0, 0.5))
    assert azimuth_weights(9.0, FOUR)[1] == pytest.approx(math.sin(0.05 * math.pi) ** 2)


def test_without_wordings_the_prompt_counts_from_every_side() -> None:
    assert parse_azimuth_prompts(()) == ANYWHERE
    assert azimuth_weights(123.0, [view.azimuth_deg for view in ANYWHERE]) == (1.0,)


@given(AZIMUTHS)
def test_what_is_seen_of_the_sides_sums_to_one_and_is_the_same_after_a_turn(azimuth_deg: float) -> None:
    seen = sides_seen(azimuth_deg)
    assert len(seen) == len(SIDES)
    assert all(0.0 <= part <= 1.0 for part in seen)
    assert sum(seen) == pytest.approx(1.0)
    assert seen == pytest.approx(sides_seen(azimuth_deg + 360.0), abs=1e-6)
    # From the left as from the right.
    assert seen == pytest.approx(sides_seen(-azimuth_deg), abs=1e-6)


def test_each_side_is_seen_whole_from_its_own_azimuths() -> None:
    for index, azimuths in enumerate(SIDES.values()):
        for azimuth in azimuths:
            assert sides_seen(azimuth)[index] == pytest.approx(1.0)


def test_views_are_sorted_sides_are_two_and_degrees_are_brought_into_one_turn() -> None:
    views = parse_azimuth_prompts(("back: the back of {}", "Side:{} from the side", "-45:{}: a corner", "360:{}"))
    assert views == (
        AzimuthPrompt(0.0, "{}"),
        AzimuthPrompt(90.0, "{} from the side"),
        AzimuthPrompt(180.0, "the back of {}"),
        AzimuthPrompt(270.0, "{} from the side"),
        AzimuthPrompt(315.0, "{}: a corner"),
    )
    assert parse_azimuth_prompts(("-1e-20:{}",))[0].azimuth_deg == 0.0


@pytest.mark.parametrize(
    "text", ["", "{}", "front", "front:", "front: a front", "top:{}", "nan:{}", "361:{}", ":{}", "1e999:{}"]
)
def test_what_is_no_view_is_refused_with_what_it_should_be(text: str) -> None:
    with pytest.raises(UsageError, match=r"^azimuth_prompts hold .*; each must be WHERE:WORDING, with front"):
        parse_azimuth_prompts(("back:{}", text))


@pytest.mark.parametrize("texts", [("front:{}", "0:{}"), ("side:{}", "-90:{}"), ("30:{}", "30.0:{}")])
def test_no_azimuth_has_two_wordings(texts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"^azimuth_prompts name \d+ degrees twice"):
        parse_azimuth_prompts(texts)
