"""Hard negatives: each says another colour or side than its caption, and nothing else changes."""

import pytest

from dreamfields.train.colours import NAMED
from dreamfields.train.looks import WORDINGS
from dreamfields.train.negatives import MOST, hard_negatives


def test_a_caption_without_colour_or_side_has_none() -> None:
    assert hard_negatives("a cat on a mat, seen from afar") == ()


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("side", WORDINGS)
def test_another_side_is_said_in_the_same_wording(side: str, index: int) -> None:
    others = [wordings[index] for other, wordings in WORDINGS.items() if other != side]
    found = hard_negatives(WORDINGS[side][index].format("an old car"))
    assert list(found) == [wording.format("an old car") for wording in others]


@pytest.mark.parametrize("colour", [*NAMED, "gray"])
def test_another_colour_is_said_of_the_same_thing(colour: str) -> None:
    article = {True: "an", False: "a"}
    found = hard_negatives(f"{article[colour[0] in 'aeiou']} {colour} dress of silk")
    assert len(found) == 2
    for sentence in found:
        others = [word for word in NAMED if f" {word} dress of silk" in sentence]
        said = max(others, key=len)
        assert sentence == f"{article[said[0] in 'aeiou']} {said} dress of silk"
        # "light blue" is blue as well: neither contradicts the other.
        assert said.split()[-1] != colour.split()[-1].replace("gray", "grey")


def test_colours_of_two_things_change_places_and_those_of_one_do_not() -> None:
    assert "a white roof and red walls" in hard_negatives("a red roof and white walls")
    assert "an orange cat with a red hat" in hard_negatives("a red cat with an orange hat")
    assert not any({"white", "red"} <= set(sentence.split()) for sentence in hard_negatives("a red and white kite"))


def test_they_are_the_same_each_time_and_never_more_than_the_table_holds() -> None:
    caption = "the back of a dark red and light blue dragon with a yellow ball"
    assert hard_negatives(caption) == hard_negatives(caption)
    assert len(set(hard_negatives(caption))) == MOST
    assert caption not in hard_negatives(caption)
