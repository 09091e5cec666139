"""Looking up what a prompt names in the library of this package."""

import pytest

from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.prior.library import ShapeLibrary
from dreamfields.prior.load import packaged_prior
from dreamfields.prior.lookup import KNOWN, Found, look_up


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


@pytest.mark.parametrize("prompt", ["the smell of rain", "a quantum theory", "a bright yellow rubber duck", "xqzzv"])
def test_what_is_not_known_is_told(tools: tuple[ShapeLibrary, SentenceEncoder], prompt: str) -> None:
    found: Found = look_up(prompt, *tools)
    assert not found.known
    assert found.prediction.cosine < KNOWN
