"""The interface of guidance: sentences and images in, unit embeddings in one joint space out.

Notation: b images, n sentences, d dimensions of the joint space. The score of an image for a sentence is the cosine of
their embeddings (Dream Fields eq. 2), in [-1, 1], unless a guidance defines another one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from dreamfields.reprs import short_repr


class AbstractGuidance(nn.Module, ABC):
    """A frozen joint image-text model, differentiable with respect to its images."""

    name: str  # Shown to the user and recorded with the run
    image_size: int  # Pixels a side of its images
    identity: str = ""  # Digest of its weights, without which the run cannot resume; empty where the package pins them

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Return the image sizes that it can score; each step draws one. By default `image_size` alone."""
        return (self.image_size,)

    @abstractmethod
    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences."""

    @abstractmethod
    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of images (b, 3, h, w) in [0, 1], differentiably."""

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that the model ignores; by default none."""
        return ()

    def unknown_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words of a sentence that the model has no tokens for; by default none."""
        return ()

    def textureless_embedding(self, text_embedding: Tensor) -> Tensor | None:
        """Return the embedding (d,) to score textureless images with, by default the same; None if it cannot."""
        return text_embedding

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return how well images (b, 3, h, w) in [0, 1] match a sentence's embedding (d,): (b,), differentiably.

        `sharpness` is in [0, 1]: at 0 all rival classes count the same, at 1 the strongest counts most. A cosine has no
        rivals and ignores it.
        """
        return self.encode_image(images) @ text_embedding


@dataclass(frozen=True)
class Guide:
    """A member of an ensemble, loaded."""

    guidance: AbstractGuidance
    weight: float = 1.0  # Multiplies its loss
    start: float = 0.0  # Fraction of the steps after which it guides, in [0, 1)

    __repr__ = short_repr


def mean_direction(embeddings: Tensor) -> Tensor:
    """Return the unit vector (d,) along the mean of unit embeddings (n, d)."""
    return functional.normalize(embeddings.mean(dim=0), dim=0)
