"""Guidance by adapters, which understand whole sentences, alone or mixed with the closed form of the same tower.

The score of the adapters is a tenth of their logit, scale times cosine, to match the size of the closed form's. `both`
is the mean of the two scores, except that the closed form alone scores the name of a class: it gets 18 of 20 nouns
right and the mean 14, while the mean matches captions better (docs/log/recipe_2026-11-26.md).
"""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.lit.adapters import Adapters
from dreamfields.guidance.lit.closed_form import LOGIT_SCALE, LitGuidance

NAMED_FROM = 0.95
"""Cosine of a sentence and the nearest class name above which the closed form's weight exceeds one half: "a red teapot"
is at 0.91, "a spotted scarf" at 0.92, captions are below 0.85."""
_MAX_CLOSED_FORM_WEIGHT = 0.75
"""Above this weight no textureless images are scored: the closed form cannot, and the adapters know few names."""


@final
class AdaptedGuidance(AbstractGuidance):
    """One image tower with its adapters, and optionally its closed form."""

    def __init__(self, closed_form: LitGuidance, adapters: Adapters, both: bool) -> None:
        """Join adapters to their tower; `both` mixes their scores with the closed form's.

        Raises MissingPackageError: the adapters are of another width than the tower.
        """
        super().__init__()
        wanted, found = closed_form.tower.width, adapters.image.linear.in_features
        if wanted != found:
            raise MissingPackageError(
                f"the adapters for {adapters.tower} take {found} numbers an image, but the tower gives {wanted}; "
                "train them afresh with: dreamfields lit train DATA --out FILE"
            )
        self.closed_form = closed_form
        self.adapters = adapters
        self.both = both
        self.identity = adapters.identity
        self.name = closed_form.name
        self.image_size = closed_form.image_size
        self.width = adapters.image.leave.out_features

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the closed form."""
        return self.closed_form.image_sizes

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences: the adapters' and, for `both`, the closed form's after them.

        The length of each part is the square root of its weight, from which `score` computes the weights.
        """
        embeddings = self.closed_form.sentences.encode(sentences)
        adapted = self.adapters.embed_texts(embeddings)
        if not self.both:
            return adapted
        weight = closed_form_weight((embeddings @ self.closed_form.class_sentences.T).amax(dim=-1, keepdim=True))
        closed = self.closed_form.embed_sentences(embeddings)
        return torch.cat([(1.0 - weight).sqrt() * adapted, weight.sqrt() * closed], dim=-1)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of images (b, 3, h, w) in [0, 1], differentiably."""
        features, levels = self.closed_form.tower.levels(images)
        adapted = self.adapters.embed_images(features, levels)
        if not self.both:
            return adapted
        return torch.cat([adapted, self.closed_form.embed_features(features)], dim=-1) / math.sqrt(2.0)

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that the text tower ignores."""
        return self.closed_form.unread_words(sentence)

    def textureless_embedding(self, text_embedding: Tensor) -> Tensor | None:
        """Return the adapters' part of an embedding (d,); None where the adapters' weight is less than one quarter."""
        if not self.both:
            return text_embedding
        if self._closed_form_weight(text_embedding) > _MAX_CLOSED_FORM_WEIGHT:
            return None
        wanted, named = text_embedding.tensor_split([self.width])
        return functional.normalize(torch.cat([wanted, torch.zeros_like(named)]), dim=0)

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return (b,): a tenth of the adapters' logit, or its weighted mean with the closed form's score."""
        features, levels = self.closed_form.tower.levels(images)
        adapted = self.adapters.embed_images(features, levels)
        scale = LOGIT_SCALE * self.adapters.scale
        if not self.both:
            return scale * (adapted @ text_embedding)
        weight = self._closed_form_weight(text_embedding)
        wanted, named = (functional.normalize(part, dim=0) for part in text_embedding.tensor_split([self.width]))
        closed = self.closed_form.score_features(features, named, sharpness)
        return (1.0 - weight) * scale * (adapted @ wanted) + weight * closed

    def _closed_form_weight(self, text_embedding: Tensor) -> Tensor:
        """Return the closed form's weight in an embedding (d,) of `both`: ()."""
        named = text_embedding[self.width :]
        return named.square().sum() / text_embedding.square().sum()


def closed_form_weight(nearness: Tensor) -> Tensor:
    """Return the closed form's weight for cosines to the nearest class name: 0.5, rising to 1 for a class name."""
    return 0.5 + 0.5 * ((nearness - NAMED_FROM) / (1.0 - NAMED_FROM)).clamp(0.0, 1.0)
