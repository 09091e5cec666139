"""Looking up the likely shape of what a prompt names.

What the library lacks may be shaped much like something that it has: a unicorn like a horse. `data/stand_ins.json` has
such things by the name of what stands in for them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.prior.library import Prediction, ShapeLibrary
from dreamfields.prior.subject import ARTICLES, central_phrases
from dreamfields.reprs import short_repr

KNOWN: Final = 0.8  # Cosine of words and a name from which the thing is known; see docs/starts.md


@dataclass(frozen=True)
class Found:
    """What the prior makes of a prompt."""

    subject: str  # The words that name its thing
    prediction: Prediction
    stand_in: str = ""  # The words that were looked up in place of these, if other ones were

    __repr__ = short_repr

    @property
    def known(self) -> bool:
        """Return whether the prior knows the thing well enough for a run to start from its shape."""
        return self.prediction.cosine >= KNOWN


def look_up(prompt: str, library: ShapeLibrary, sentences: SentenceEncoder) -> Found:
    """Return the likely shape of the thing that a prompt names.

    Its words are looked up without one adjective after the other until something is known: a red car is a car, but a
    school bus is a school bus. If nothing is, the words that come nearest count.
    """
    phrases = central_phrases(prompt)
    others = [stand_in(phrase) for phrase in phrases]
    embeddings = sentences.encode([other or phrase for phrase, other in zip(phrases, others, strict=True)])
    predictions = [library.predict(embedding) for embedding in embeddings]
    found = [Found(*one) for one in zip(phrases, predictions, others, strict=True)]
    return next((one for one in found if one.known), max(found, key=lambda one: one.prediction.cosine))


def stand_in(phrase: str) -> str:
    """Return the words to look up in place of a phrase, with an article; "" if it can stand for itself."""
    words = phrase.lower().split()
    name = _stand_ins().get(" ".join(words[1:] if words[0] in ARTICLES else words), "")
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}" if name else ""


@cache
def _stand_ins() -> Mapping[str, str]:
    text = resources.files("dreamfields.prior").joinpath("data/stand_ins.json").read_text(encoding="utf-8")
    return {thing: name for name, things in json.loads(text).items() for thing in things}
