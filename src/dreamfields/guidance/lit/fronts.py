"""Whether what a prompt names has a front, in the eyes of a logistic regression on the sentence's embedding.

The adapters tell front, side and back of things that differ from these, such as animals, people, vehicles and chairs.
Of a teapot or a tree no side is asked. `train/fronts.py` has what the regression was fitted to.
"""

from dataclasses import dataclass
from typing import Final

import safetensors.torch
import torch
from torch import Tensor

from dreamfields.guidance.lit.weights import FRONTS, FRONTS_SHA256, shipped_file
from dreamfields.guidance.prompts import fill_template
from dreamfields.reprs import short_repr

_TEMPLATE: Final = "a photo of {}"
_FRONT_FROM: Final = 0.5  # Probability


@dataclass(frozen=True)
class FrontProbe:
    """A logistic regression on sentence embeddings of e numbers."""

    weight: Tensor  # (e,)
    bias: Tensor  # ()

    __repr__ = short_repr

    def probability(self, embeddings: Tensor) -> Tensor:
        """Return how probably things have a front, (n,) in [0, 1], by the embeddings (n, e) of their `sentence`s."""
        return torch.sigmoid(embeddings @ self.weight + self.bias)

    def has_front(self, embeddings: Tensor) -> Tensor:
        """Return whether things have a front, (n,) bool, by the embeddings (n, e) of their `sentence`s."""
        return self.probability(embeddings) > _FRONT_FROM

    def content(self) -> bytes:
        """Return the file of the probe."""
        return safetensors.torch.save({"weight": self.weight, "bias": self.bias})


def sentence(subject: str) -> str:
    """Return the sentence to embed for a thing or a prompt."""
    return fill_template(_TEMPLATE, subject)


def packaged_probe() -> FrontProbe:
    """Load the probe of this package. Raises MissingPackageError: its file is missing or not the recorded one."""
    state = safetensors.torch.load_file(shipped_file(FRONTS, FRONTS_SHA256))
    return FrontProbe(state["weight"], state["bias"])
