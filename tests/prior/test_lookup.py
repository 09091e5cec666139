"""Looking up what a prompt names in the library of this package."""

import json
from importlib import resources

import pytest

from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.prior.library import ShapeLibrary
from dreamfields.prior.load import packaged_prior
from dreamfields.prior.lookup import KNOWN, Found, look_up, stand_in


@pytest.fixture(scope="module")
def tools() -> tuple[ShapeLibrary, SentenceEncoder]:
    return packaged_prior(), SentenceEncoder()


@pytest.mark.parametrize(
    ("prompt", "subject", "shape"),
    [
        ("a red car with a dog in it", "a car", "car"),
        ("a school bus", "a school bus", "school bus"),
        ("a giraffe", "a giraffe", "giraffe"),
        ("a marble statue of a lion", "a lion", "lion"),
        ("a castle made of cheese", "a castle", "castle"),
        ("an armchair in the shape of an avocado", "an armchair", "armchair"),
        ("a snowman with a carrot nose and a red scarf", "a snowman", "snowman"),
    ],
)
def test_a_thing_is_found_by_its_noun(
    tools: tuple[ShapeLibrary, SentenceEncoder], prompt: str, subject: str, shape: str
) -> None:
    found = look_up(prompt, *tools)
    assert (found.subject, found.prediction.name, found.known) == (subject, shape, True)


@pytest.mark.parametrize(
    ("prompt", "subject", "shape"),
    [
        ("a white unicorn", "a unicorn", "horse"),
        ("Two zebras and a zebra", "Two zebras", ""),
        ("a bright yellow rubber duck", "a rubber duck", "chick"),
        ("a mouse", "a mouse", "rat"),
        ("a computer mouse", "a computer mouse", "computer mouse"),
    ],
)
def test_something_alike_stands_in_for_what_the_library_lacks(
    tools: tuple[ShapeLibrary, SentenceEncoder], prompt: str, subject: str, shape: str
) -> None:
    found = look_up(prompt, *tools)
    assert found.known is (shape != "")
    if shape:
        assert (found.subject, found.prediction.name) == (subject, shape)
        assert found.stand_in in ("", f"a {shape}")


def test_every_stand_in_is_in_the_library_and_what_it_stands_for_is_not(
    tools: tuple[ShapeLibrary, SentenceEncoder],
) -> None:
    table = json.loads(resources.files("dreamfields.prior").joinpath("data/stand_ins.json").read_text("utf-8"))
    names = {name.lower() for name in tools[0].names}
    things = [thing for one in table.values() for thing in one]
    assert {name.lower() for name in table} <= names
    assert not names & set(things)
    assert len(set(things)) == len(things)
    assert things == [thing.lower() for thing in things]
    assert stand_in("a unicorn") == "a horse"
    assert stand_in("An UNICORN") == "a horse"
    assert stand_in("horse") == ""


@pytest.mark.parametrize("prompt", ["the smell of rain", "a quantum theory", "an anchor", "xqzzv"])
def test_what_is_not_known_is_told(tools: tuple[ShapeLibrary, SentenceEncoder], prompt: str) -> None:
    found: Found = look_up(prompt, *tools)
    assert not found.known
    assert found.prediction.cosine < KNOWN
