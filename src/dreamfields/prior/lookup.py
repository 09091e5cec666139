"""Looking up the likely shape of what a prompt names."""

from dataclasses import dataclass
from typing import Final

from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.prior.network import Prediction, ShapePrior
from dreamfields.prior.subject import central_phrase
from dreamfields.reprs import short_repr

CONFIDENT: Final = 0.3  # Expected overlap from which a shape is likely to help; see docs/prior.md


@dataclass(frozen=True)
class Found:
    """What the prior makes of a prompt."""

    subject: str  # The words that were looked up
    prediction: Prediction

    __repr__ = short_repr

    @property
    def known(self) -> bool:
        """Return whether the prior expects its shape to be good enough to start from."""
        return self.prediction.overlap >= CONFIDENT


def look_up(prompt: str, prior: ShapePrior, sentences: SentenceEncoder) -> Found:
    """Return the likely shape of the thing that a prompt names."""
    subject = central_phrase(prompt)
    return Found(subject, prior.predict(sentences.encode([subject])[0]))
