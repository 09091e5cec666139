"""The embedded default guidance: locked image towers, bridged to sentences in closed form.

After LiT (Zhai et al., CVPR 2022): the image tower is locked, and only what lies between pictures and text is ours.
Nothing is trained here; two classical zero-shot bridges meet in one space.

* `classes`, after ConSE (Norouzi et al., ICLR 2014): a sentence is a distribution q over the 1000 class names, by the
  similarity of their sentence embeddings; a picture is its centred logits.
* `features`, after DeViSE (Frome et al., NIPS 2013): ridge regression maps sentence embeddings of the class names to
  the rows of the classifier; a picture is its centred features.

As embeddings both are unit vectors; `both` sets them side by side, scaled by 1/sqrt(2), so that its cosine is their
mean. What guides is a *score*, and there the logits keep their length: the score of `classes` is a tenth of the lead
that the wanted classes' logits have, at first over the mean of all classes, later over the strongest rivals. A cosine
can also be raised by quietening the other classes, and a log-probability is raised first by erasing the strongest
rival; both spend the early steps on that, and some prompts never come back from it. Once there is an object, the
strongest rivals are what is wrong with it (benchmarks/results has the pictures).

It is not CLIP: it knows the 1000 nouns and what lies near them in language, and little of attributes and relations.
"""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.lit.classes import class_names
from dreamfields.guidance.lit.text import SentenceEncoder
from dreamfields.guidance.lit.towers import Tower
from dreamfields.guidance.prompts import fill_template
from dreamfields.guidance.settings import Bridge

_TEMPERATURE = 0.05
_RIDGE = 1.0
_CLASS_WEIGHT: dict[Bridge, float] = {"classes": 1.0, "features": 0.0, "both": 0.5}
LOGIT_SCALE = 0.1
"""Brings the lead of a recognised class, about ten logits, to the size of a cosine."""


@final
class LitGuidance(AbstractGuidance):
    """One image tower bridged to sentences."""

    def __init__(
        self,
        tower: Tower,
        sentences: SentenceEncoder,
        classes: Tensor,
        bridge: Bridge,
        image_size: int,
        size_jitter: float = 0.0,
    ) -> None:
        """Tie a tower to a sentence encoder by the embeddings (1000, e) of its classes' names."""
        super().__init__()
        self.tower = tower
        self.sentences = sentences
        self.bridge = bridge
        self.name = f"lit-{tower.source.name}"
        self.image_size = image_size
        self.size_jitter = size_jitter
        mean = classes.mean(dim=0)
        rows = functional.normalize(tower.class_weight - tower.class_weight.mean(dim=0), dim=-1)
        self.class_sentences = nn.Buffer(classes)
        self.sentence_mean = nn.Buffer(mean)
        self.map = nn.Buffer(ridge_regression(classes - mean, rows, _RIDGE))

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Return the multiples of 16 pixels within the jitter around `image_size`.

        What convinces a convolutional tower at one size alone is an artefact of that size: a judge at another size
        named objects made at 160 pixels far more often when it looked at 160 pixels too.
        """
        reach = self.size_jitter * self.image_size
        near = range(16, 2 * self.image_size + 1, 16)
        return tuple(size for size in near if abs(size - self.image_size) <= reach) or (self.image_size,)

    def textureless_embedding(self, text_embedding: Tensor) -> None:
        """Return None: it classifies photographs, and plaster leads it astray, as the nouns of the benchmark say."""
        return

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences."""
        return self.embed_sentences(self.sentences.encode(sentences))

    def embed_sentences(self, embeddings: Tensor) -> Tensor:
        """Return unit embeddings (n, d) of sentences whose own embeddings (n, e) the encoder has found already."""
        classes = class_distribution(embeddings, self.class_sentences, _TEMPERATURE)
        features = (embeddings - self.sentence_mean) @ self.map
        centred = classes - classes.mean(dim=-1, keepdim=True)
        return self._join(functional.normalize(centred, dim=-1), functional.normalize(features, dim=-1))

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of pictures (b, 3, h, w) in [0, 1], differentiably."""
        return self.embed_features(self.tower.features(images))

    def embed_features(self, seen: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of pictures whose features (b, f) the tower has found already."""
        logits, features = self._centred(seen)
        return self._join(functional.normalize(logits, dim=-1), functional.normalize(features, dim=-1))

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that the text tower does not take in."""
        return self.sentences.unread_words(sentence)

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return (b,): a tenth of the wanted classes' lead in logits, the features' cosine, or the mean of both."""
        return self.score_features(self.tower.features(images), text_embedding, sharpness)

    def score_features(self, seen: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return the score (b,) of pictures whose features (b, f) the tower has found already."""
        logits, features = self._centred(seen)
        wanted = self._join(LOGIT_SCALE * logits, functional.normalize(features, dim=-1)) @ text_embedding
        return wanted - _CLASS_WEIGHT[self.bridge] * LOGIT_SCALE * rivals(logits, sharpness)

    def _centred(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return centred logits (b, 1000) and centred features (b, f)."""
        logits = self.tower.logits(features)
        return logits - logits.mean(dim=-1, keepdim=True), features - self.tower.feature_mean

    def _join(self, classes: Tensor, features: Tensor) -> Tensor:
        if self.bridge == "classes":
            return classes
        if self.bridge == "features":
            return features
        return torch.cat([classes, features], dim=-1) / math.sqrt(2.0)


def embed_class_names(sentences: SentenceEncoder, template: str) -> Tensor:
    """Return the embeddings (1000, e) of all class names, each put into the template."""
    return sentences.encode([fill_template(template, f"a {name}") for name in class_names()])


def class_distribution(embeddings: Tensor, class_embeddings: Tensor, temperature: float) -> Tensor:
    """Return q (n, 1000): the softmax over classes of cosine / temperature, for sentences (n, e), names (1000, e)."""
    return torch.softmax(embeddings @ class_embeddings.T / temperature, dim=-1)


def rivals(logits: Tensor, sharpness: float) -> Tensor:
    """Return log(mean(exp(s z))) / s, (b,), of logits z (b, k): their mean for s = 0, nearer to the largest as s grows.

    z_c - rivals(z, s) is how far class c leads. At s = 1 it is the class's log-probability, but for a constant; its
    gradient is that of c alone less that of softmax(s z).
    """
    if sharpness == 0.0:
        return logits.mean(dim=-1)
    return (torch.logsumexp(sharpness * logits, dim=-1) - math.log(logits.shape[-1])) / sharpness


def ridge_regression(inputs: Tensor, targets: Tensor, strength: float) -> Tensor:
    """Return M (e, f) that minimises |inputs M - targets|^2 + strength |M|^2, for inputs (n, e), targets (n, f)."""
    gram = inputs.T @ inputs + strength * torch.eye(inputs.shape[1])
    solution: Tensor = torch.linalg.solve(gram, inputs.T @ targets)
    return solution
