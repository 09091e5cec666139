"""Looking up the likely shape of what a prompt names."""

from dataclasses import dataclass
from typing import Final

from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.prior.library import Prediction, ShapeLibrary
from dreamfields.prior.subject import central_phrases
from dreamfields.reprs import short_repr

KNOWN: Final = 0.8  # Cosine of words and a name from which the thing is known; see docs/starts.md


@dataclass(frozen=True)
class Found:
    """What the prior makes of a prompt."""

    subject: str  # The words that were looked up
    prediction: Prediction

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
    predictions = [library.predict(embedding) for embedding in sentences.encode(phrases)]
    found = [Found(*one) for one in zip(phrases, predictions, strict=True)]
    return next((one for one in found if one.known), max(found, key=lambda one: one.prediction.cosine))
