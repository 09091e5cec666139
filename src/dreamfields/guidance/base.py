"""The one interface of guidance: sentences and pictures in, unit embeddings in one space out.

Notation: b pictures, n sentences, d dimensions of the joint space. The score of a picture for a sentence is the cosine
of their embeddings (Dream Fields eq. 2), in [-1, 1], unless a guidance says what it puts in its place.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional


class AbstractGuidance(nn.Module, ABC):
    """A joint image-text model, frozen, differentiable with respect to its pictures."""

    name: str
    """Shown to the user and kept with the run."""
    image_size: int
    """Pixels a side of the pictures it looks at."""
    identity: str = ""
    """Tells its weights from all others; kept with the run, which goes on with the same ones only. Empty where the
    package itself pins them."""

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Return the sizes it may be shown pictures at; each step draws one. By default `image_size` alone."""
        return (self.image_size,)

    @abstractmethod
    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences."""

    @abstractmethod
    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of pictures (b, 3, h, w) in [0, 1], differentiably."""

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that it cannot take in; by default it takes in all."""
        return ()

    def textureless_embedding(self, text_embedding: Tensor) -> Tensor | None:
        """Return what a shape in white plaster is scored on in place of a sentence's embedding (d,), by default that.

        None where the score says nothing of a shape without colours.
        """
        return text_embedding

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return how well pictures (b, 3, h, w) match one sentence's embedding (d,): (b,), differentiably.

        Args:
            images: the pictures.
            text_embedding: what they are to show.
            sharpness: from 0, where all that the pictures could be mistaken for counts the same, to 1, where only what
                is nearest counts. A cosine knows of nothing else, and stays the same.
        """
        return self.encode_image(images) @ text_embedding


@dataclass(frozen=True)
class Guide:
    """One member of an ensemble."""

    guidance: AbstractGuidance
    weight: float = 1.0
    """Share of this member in the loss."""
    start: float = 0.0
    """Share of the steps from which it is asked, in [0, 1]."""


def mean_direction(embeddings: Tensor) -> Tensor:
    """Return the unit vector (d,) along the mean of unit embeddings (n, d): one embedding for several wordings."""
    return functional.normalize(embeddings.mean(dim=0), dim=0)
