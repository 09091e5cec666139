"""The embedded default guidance: locked image towers, bridged to sentences in closed form.

After LiT (Zhai et al., CVPR 2022): the image tower is locked, and only what lies between pictures and text is ours.
Nothing is trained here; two classical zero-shot bridges meet in one space.

* `classes`, after ConSE (Norouzi et al., ICLR 2014): a sentence is a distribution q over the 1000 class names, by the
  similarity of their sentence embeddings; a picture is its centred logits. The cosine of the two rewards the wanted
  classes over the mean of all, without first having to erase every rival as a log-probability does.
* `features`, after DeViSE (Frome et al., NIPS 2013): ridge regression maps sentence embeddings of the class names to
  the rows of the classifier; a picture is its centred features.

Both are unit vectors, so scaled by 1/sqrt(2) and set side by side they are one, whose cosine is the mean of both.
It is not CLIP: it knows the 1000 nouns and what lies near them in language, and little of attributes and relations.
"""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.classes import class_names
from dreamfields.guidance.prompts import fill_template
from dreamfields.guidance.settings import Bridge
from dreamfields.guidance.text import SentenceEncoder
from dreamfields.guidance.towers import Tower

_TEMPERATURE = 0.05
_RIDGE = 1.0


@final
class LitGuidance(AbstractGuidance):
    """One image tower bridged to sentences."""

    def __init__(
        self, tower: Tower, sentences: SentenceEncoder, classes: Tensor, bridge: Bridge, image_size: int
    ) -> None:
        """Tie a tower to a sentence encoder by the embeddings (1000, e) of its classes' names."""
        super().__init__()
        self.tower = tower
        self.sentences = sentences
        self.bridge = bridge
        self.name = f"lit-{tower.source.name}"
        self.image_size = image_size
        mean = classes.mean(dim=0)
        rows = functional.normalize(tower.class_weight - tower.class_weight.mean(dim=0), dim=-1)
        self.class_sentences = nn.Buffer(classes)
        self.sentence_mean = nn.Buffer(mean)
        self.map = nn.Buffer(ridge_regression(classes - mean, rows, _RIDGE))

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences."""
        embeddings = self.sentences.encode(sentences)
        classes = class_distribution(embeddings, self.class_sentences, _TEMPERATURE)
        features = (embeddings - self.sentence_mean) @ self.map
        return self._join(classes - classes.mean(dim=-1, keepdim=True), features)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of pictures (b, 3, h, w) in [0, 1], differentiably."""
        features = self.tower.features(images)
        logits = self.tower.logits(features)
        return self._join(logits - logits.mean(dim=-1, keepdim=True), features - self.tower.feature_mean)

    def _join(self, classes: Tensor, features: Tensor) -> Tensor:
        if self.bridge == "classes":
            return functional.normalize(classes, dim=-1)
        if self.bridge == "features":
            return functional.normalize(features, dim=-1)
        both = [functional.normalize(part, dim=-1) for part in (classes, features)]
        return torch.cat(both, dim=-1) / math.sqrt(2.0)


def embed_class_names(sentences: SentenceEncoder, template: str) -> Tensor:
    """Return the embeddings (1000, e) of all class names, each put into the template."""
    return sentences.encode([fill_template(template, f"a {name}") for name in class_names()])


def class_distribution(embeddings: Tensor, class_embeddings: Tensor, temperature: float) -> Tensor:
    """Return q (n, 1000): the softmax over classes of cosine / temperature, for sentences (n, e), names (1000, e)."""
    return torch.softmax(embeddings @ class_embeddings.T / temperature, dim=-1)


def ridge_regression(inputs: Tensor, targets: Tensor, strength: float) -> Tensor:
    """Return M (e, f) that minimises |inputs M - targets|^2 + strength |M|^2, for inputs (n, e), targets (n, f)."""
    gram = inputs.T @ inputs + strength * torch.eye(inputs.shape[1])
    solution: Tensor = torch.linalg.solve(gram, inputs.T @ targets)
    return solution
