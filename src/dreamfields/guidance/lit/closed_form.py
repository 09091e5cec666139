"""Guidance without training: locked image towers (LiT, Zhai et al., CVPR 2022), bridged to sentences in closed form.

* `classes`, after ConSE (Norouzi et al., ICLR 2014): a sentence becomes a distribution q over the 1000 class names, by
  the similarity of their sentence embeddings; an image becomes its centred logits.
* `features`, after DeViSE (Frome et al., NIPS 2013): ridge regression maps sentence embeddings of class names to the
  rows of the classifier; an image becomes its centred features.

Embeddings are unit vectors; `both` concatenates the two, scaled by 1/sqrt(2), so that its cosine is their mean. The
score of `classes` is a tenth of the wanted classes' logits minus, at first, the mean of all classes and, later, the
strongest rivals (images in benchmarks/results). A cosine rises when all other classes fall and a log-probability when
the strongest rival does; early steps would be lost on that, and some prompts never recover.

Unlike CLIP it knows the 1000 nouns and their neighbours in language, and little of attributes and relations.
"""

import math
from collections.abc import Sequence
from typing import Literal, final

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.guidance.base import AbstractGuidance, Sides
from dreamfields.guidance.lit.towers import SentenceEncoder, Tower, class_names
from dreamfields.guidance.lit.weights import CLASS_SENTENCES, CLASS_SENTENCES_SHA256, shipped_file
from dreamfields.guidance.lit.words import unknown_words
from dreamfields.guidance.prompts import fill_template

Bridge = Literal["classes", "features", "both"]
_TEMPERATURE = 0.05
_RIDGE = 1.0
_CLASS_WEIGHT: dict[Bridge, float] = {"classes": 1.0, "features": 0.0, "both": 0.5}
LOGIT_SCALE = 0.1  # Scales the margin of a recognised class, about ten logits, to the size of a cosine


@final
class LitGuidance(AbstractGuidance):
    """One image tower, bridged to sentences."""

    def __init__(
        self, tower: Tower, sentences: SentenceEncoder, classes: Tensor, bridge: Bridge, size: int, jitter: float = 0.0
    ) -> None:
        """Fit the bridges to the embeddings (1000, e) of the class names, `classes`."""
        super().__init__()
        self.tower, self.sentences, self.bridge = tower, sentences, bridge
        self.name = f"lit-{tower.source.name}"
        self.image_size, self.size_jitter = size, jitter
        mean = classes.mean(dim=0)
        rows = functional.normalize(tower.class_weight - tower.class_weight.mean(dim=0), dim=-1)
        self.class_sentences = nn.Buffer(classes)
        self.sentence_mean = nn.Buffer(mean)
        self.map = nn.Buffer(ridge_regression(classes - mean, rows, _RIDGE))

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Return the multiples of 16 pixels within the jitter around `image_size`."""
        # An object can score well at the size of its images only: the judge recognised objects optimised at 160 pixels
        # far more often in images of 160 pixels than in images of its own size.
        jitter = self.size_jitter * self.image_size
        sizes = range(16, 2 * self.image_size + 1, 16)
        return tuple(size for size in sizes if abs(size - self.image_size) <= jitter) or (self.image_size,)

    def textureless_embedding(self, text_embedding: Tensor) -> None:
        """Return None: the towers classify photographs, and textureless images made the benchmark of nouns worse."""

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences."""
        return self.embed_sentences(self.sentences.encode(sentences))

    def embed_sentences(self, embeddings: Tensor) -> Tensor:
        """Return unit embeddings (n, d) of the encoder's sentence embeddings (n, e)."""
        classes = class_distribution(embeddings, self.class_sentences, _TEMPERATURE)
        features = (embeddings - self.sentence_mean) @ self.map
        centred = classes - classes.mean(dim=-1, keepdim=True)
        return self._join(functional.normalize(centred, dim=-1), functional.normalize(features, dim=-1))

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of images (b, 3, h, w) in [0, 1], differentiably."""
        return self.embed_features(self.tower.features(images))

    def embed_features(self, features: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of the tower's features (b, f)."""
        logits, features = self._centred(features)
        return self._join(functional.normalize(logits, dim=-1), functional.normalize(features, dim=-1))

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that the text tower ignores."""
        return self.sentences.unread_words(sentence)

    def unknown_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words of a sentence that the text tower cannot read: it reads English."""
        return unknown_words(sentence)

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return (b,): a tenth of the wanted classes' margin in logits, the features' cosine, or the mean of both."""
        return self.score_features(self.tower.features(images), text_embedding, sharpness)

    def sided_score(
        self, images: Tensor, text_embedding: Tensor, sides: Sides, sharpness: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the score and zeros: classes know no sides."""
        score = self.score(images, text_embedding, sharpness)
        return score, torch.zeros_like(score)

    def score_features(self, features: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return the score (b,) of the tower's features (b, f)."""
        logits, features = self._centred(features)
        wanted = self._join(LOGIT_SCALE * logits, functional.normalize(features, dim=-1)) @ text_embedding
        return wanted - _CLASS_WEIGHT[self.bridge] * LOGIT_SCALE * rivals(logits, sharpness)

    def _centred(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return centred logits (b, 1000) and centred features (b, f)."""
        logits = self.tower.logits(features)
        return logits - logits.mean(dim=-1, keepdim=True), features - self.tower.feature_mean

    def _join(self, classes: Tensor, features: Tensor) -> Tensor:
        if self.bridge == "both":
            return torch.cat([classes, features], dim=-1) / math.sqrt(2.0)
        return classes if self.bridge == "classes" else features


def class_sentences(sentences: SentenceEncoder, template: str) -> Tensor:
    """Return the embeddings (1000, e) of all class names in a template; those of the default one are in the package.

    Raises MissingPackageError: their file is missing or not the recorded one.
    """
    path = shipped_file(CLASS_SENTENCES, CLASS_SENTENCES_SHA256)
    with safe_open(path, "pt") as file:
        if file.metadata() == {"template": template}:
            shipped: Tensor = file.get_tensor("embeddings")
            return shipped
    return embed_class_names(sentences, template)


def embed_class_names(sentences: SentenceEncoder, template: str) -> Tensor:
    """Return what `class_sentences` returns for any template, computed: the reference."""
    return sentences.encode([fill_template(template, f"a {name}") for name in class_names()])


def class_distribution(embeddings: Tensor, class_embeddings: Tensor, temperature: float) -> Tensor:
    """Return q (n, 1000): the softmax over classes of cosine / temperature, for sentences (n, e), names (1000, e)."""
    return torch.softmax(embeddings @ class_embeddings.T / temperature, dim=-1)


def rivals(logits: Tensor, sharpness: float) -> Tensor:
    """Return log(mean(exp(s z))) / s, (b,), of logits z (b, k): their mean for s = 0, towards the largest as s grows.

    z_c - rivals(z, s) is the margin of class c; at s = 1 it is the log-probability of the class, up to a constant.
    """
    if sharpness == 0.0:
        return logits.mean(dim=-1)
    return (torch.logsumexp(sharpness * logits, dim=-1) - math.log(logits.shape[-1])) / sharpness


def ridge_regression(inputs: Tensor, targets: Tensor, strength: float) -> Tensor:
    """Return M (e, f) that minimises |inputs M - targets|^2 + strength |M|^2, for inputs (n, e), targets (n, f)."""
    gram = inputs.T @ inputs + strength * torch.eye(inputs.shape[1])
    solution: Tensor = torch.linalg.solve(gram, inputs.T @ targets)
    return solution
