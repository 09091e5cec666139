"""Guidance by adapters: a locked tower that reads whole sentences, alone or beside its closed form.

The score of the adapters is a tenth of their logit, scale times cosine, so that it is of the size of the closed form's,
a tenth of a lead in logits; `both` is the mean of the two.
"""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.adapters import Adapters
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.lit import LOGIT_SHARE, LitGuidance


@final
class AdaptedGuidance(AbstractGuidance):
    """One image tower, its adapters, and on request its closed form."""

    def __init__(self, closed_form: LitGuidance, adapters: Adapters, both: bool, identity: str = "") -> None:
        """Put adapters to a tower.

        Args:
            closed_form: the tower, bridged to sentences in closed form.
            adapters: trained for that tower.
            both: whether the closed form has half a say.
            identity: tells the adapters from all others; empty where the package pins them.

        Raises:
            MissingPackageError: the adapters are of another width than the tower or the encoder.
        """
        super().__init__()
        wanted, found = closed_form.tower.width, adapters.image.linear.in_features
        if wanted != found:
            raise MissingPackageError(
                f"the adapters for {adapters.tower} take {found} numbers a picture, but the tower gives {wanted}; "
                "train them afresh with: dreamfields lit train DATA --out FILE"
            )
        self.closed_form = closed_form
        self.adapters = adapters
        self.both = both
        self.identity = identity
        self.name = closed_form.name
        self.image_size = closed_form.image_size
        self.width = adapters.image.leave.out_features

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the closed form."""
        return self.closed_form.image_sizes

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences: the adapters' and, for both, the closed form's beside them."""
        adapted = self.adapters.embed_texts(self.closed_form.sentences.encode(sentences))
        return self._join(adapted, self.closed_form.encode_text(sentences)) if self.both else adapted

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of pictures (b, 3, h, w) in [0, 1], differentiably."""
        features, levels = self.closed_form.tower.levels(images)
        adapted = self.adapters.embed_images(features, levels)
        return self._join(adapted, self.closed_form.embed_features(features)) if self.both else adapted

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that the text tower does not take in."""
        return self.closed_form.unread_words(sentence)

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return (b,): a tenth of the adapters' logit, or its mean with the closed form's score."""
        features, levels = self.closed_form.tower.levels(images)
        adapted = self.adapters.embed_images(features, levels)
        scale = LOGIT_SHARE * self.adapters.scale
        if not self.both:
            return scale * (adapted @ text_embedding)
        # The mean of several wordings may have left the two parts of unequal length.
        wanted, named = (functional.normalize(part, dim=0) for part in text_embedding.tensor_split([self.width]))
        closed = self.closed_form.score_features(features, named, sharpness)
        return 0.5 * (scale * (adapted @ wanted) + closed)

    def _join(self, adapted: Tensor, closed: Tensor) -> Tensor:
        return torch.cat([adapted, closed], dim=-1) / math.sqrt(2.0)
