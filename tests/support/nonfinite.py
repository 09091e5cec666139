"""Guidance that gives numbers that are none, at the calls that a test names."""

from collections.abc import Collection, Sequence
from typing import Literal

from torch import Tensor

from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.toy import ToyGuidance

Where = Literal["score", "gradient", "one element"]


class NonFiniteGuidance(AbstractGuidance):
    """Toy guidance that at some of its looks, counted from 0, scores or leads with what is no number."""

    name = "odd"

    def __init__(self, at: Collection[int], where: Where = "gradient", value: float = float("nan")) -> None:
        super().__init__()
        self.toy = ToyGuidance()
        self.image_size = self.toy.image_size
        self.at, self.where, self.value = at, where, value
        self.looks = 0

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        return self.toy.encode_text(sentences)

    def encode_image(self, images: Tensor) -> Tensor:
        embeddings = self.toy.encode_image(images)
        look, self.looks = self.looks, self.looks + 1
        if look not in self.at:
            return embeddings
        if self.where == "score":
            return embeddings * self.value
        led = embeddings.clone()
        led.register_hook(self._spoil)
        return led

    def _spoil(self, gradient: Tensor) -> Tensor:
        if self.where == "gradient":
            return gradient * self.value
        spoilt = gradient.clone()
        spoilt[0, 0] = self.value
        return spoilt
