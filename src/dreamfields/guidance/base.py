"""The interface of guidance: sentences and images in, unit embeddings in one joint space out.

Notation: b images, n sentences, d dimensions of the joint space. The score of an image for a sentence is the cosine of
their embeddings (Dream Fields eq. 2), in [-1, 1], unless a guidance defines another one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.guidance.prompts import side_sentences
from dreamfields.reprs import short_repr

_COSINES = 100.0  # Logit of a cosine of 1: models of images and sentences learn about that
TOLD = 0.5  # Divergence of the sides that are seen from those wanted, in nats, below which they are told well enough


@dataclass(frozen=True)
class Sides:
    """From which side images should show a thing that has a front."""

    directions: Tensor  # (s, d): by which each side is told; see `AbstractGuidance.encode_sides`
    seen: Tensor  # (b, s): how much of each side an image shows, in [0, 1] with sum 1, or 0 where it is not asked
    weight: float  # Of this score, relative to that of the prompt

    __repr__ = short_repr

    def of(self, images: slice) -> Self:
        """Return what is asked of some of the images."""
        return replace(self, seen=self.seen[images])


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

    def encode_sides(self, prompt: str) -> Tensor:
        """Return a direction (s, d) for each of the `prompts.SIDES`: what is seen is told by products with these.

        By default they are the embeddings of sentences.
        """
        return self.encode_text(side_sentences(prompt))

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that the model ignores; by default none."""
        return ()

    def unknown_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words of a sentence that the model has no tokens for; by default none."""
        return ()

    def has_front(self, prompt: str, *, from_shape: bool = False) -> bool:
        """Return whether what a prompt names has a front that the model can tell; by default it can tell none.

        `from_shape` says whether the object began as a shape, which has its front where it belongs.
        """
        return False

    def textureless_embedding(self, text_embedding: Tensor) -> Tensor | None:
        """Return the embedding (d,) to score textureless images with, by default the same; None if it cannot."""
        return text_embedding

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return how well images (b, 3, h, w) in [0, 1] match a sentence's embedding (d,): (b,), differentiably.

        `sharpness` is in [0, 1]: at 0 all rival classes count the same, at 1 the strongest counts most. A cosine has no
        rivals and ignores it.
        """
        return self.encode_image(images) @ text_embedding

    def sided_score(
        self, images: Tensor, text_embedding: Tensor, sides: Sides, sharpness: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the score (b,) and what the sides of images add to it, (b,), differentiably; see `side_score`."""
        embeddings = self.encode_image(images)
        told = side_score(_COSINES * embeddings @ sides.directions.T, sides.seen)
        return embeddings @ text_embedding, sides.weight / _COSINES * told


@dataclass(frozen=True)
class Guide:
    """A member of an ensemble, loaded."""

    guidance: AbstractGuidance
    weight: float = 1.0  # Multiplies its loss
    start: float = 0.0  # Fraction of the steps after which it guides, in [0, 1)

    __repr__ = short_repr


def side_score(logits: Tensor, seen: Tensor) -> Tensor:
    """Return -max(D, `TOLD`), (b,), with D = sum_j seen_j log(seen_j / p_j), for seen (b, s) and logits (b, s) of p.

    D is the Kullback-Leibler divergence of the probabilities p from what is wanted, so wrong sides count against a
    right one. A side that is told well enough counts no more: what is left to gain is not the shape's. Rows of seen
    that are all 0, of images that are not asked, get 0.
    """
    divergence = torch.xlogy(seen, seen).sum(dim=-1) - (seen * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
    return -torch.maximum(divergence, TOLD * seen.sum(dim=-1))


def mean_direction(embeddings: Tensor) -> Tensor:
    """Return the unit vector (d,) along the mean of unit embeddings (n, d)."""
    return functional.normalize(embeddings.mean(dim=0), dim=0)
