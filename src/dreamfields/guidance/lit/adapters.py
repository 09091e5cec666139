"""Adapters: two small networks trained between a frozen image and a frozen text tower (LiT, Zhai et al., CVPR 2022).

They map the outputs of both towers to one space, where the cosine of an image and a sentence, times a learned scale, is
the logit of a match. A file of adapters is safetensors at half precision, with the tower's name in its metadata.

The score of the adapters is, as that of the closed form, a tenth of a margin of logits: that of the sentence, scale
times cosine, over those of the 1,000 class names, but for those that say the same. In `both` each has a weight by how
near the sentence is to the name of a class. The closed form alone scores such a name: it gets 18 of 20 nouns right and
the mean of both 14 (docs/log/recipe_2026-11-26.md). It has no say about what no class is near to: the nearest to "a
golden trophy" is the golden retriever, to "a snowman" the snowplow (docs/log/renders_2026-11-28.md).

Notation: f outputs of the image tower (its features, then its levels), e numbers of a sentence embedding, d dimensions
of the joint space, k hidden units.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.base import AbstractGuidance, Sides, side_score
from dreamfields.guidance.lit.closed_form import LOGIT_SCALE, LitGuidance, rivals
from dreamfields.guidance.lit.fronts import FrontProbe, sentence
from dreamfields.guidance.lit.weights import AdapterSource
from dreamfields.guidance.prompts import side_sentences
from dreamfields.reprs import short_repr
from dreamfields.storage import safetensors_facts

FORMAT = "1"
_LARGEST_FILE = 64_000_000
_STEEPEST = 100.0
_ABOUT = "adapters"
NAMED_FROM = 0.95
"""Cosine of a sentence and the nearest class name above which the closed form's weight exceeds one half: "a red teapot"
is at 0.91, "a spotted scarf" at 0.92, captions are below 0.85."""
COVERED = (0.62, 0.82)
"""Cosines between which the closed form's weight rises from 0 to one half: "a golden trophy" is at 0.63, nearest to
the golden retriever, "a flying saucer" at 0.66, "a brown leather boot" at 0.70, "a tall red and white lighthouse" at
0.83."""
_MOST_ALIKE = 0.999  # Cosine up to which two sentences are told apart
_NEARLY_ONE = 1.0 - 1e-4  # A cosine of equal sentences is 1 but for rounding, and twenty times as far from it
_MAX_CLOSED_FORM_WEIGHT = 0.75
"""Above this weight no textureless images are scored: the closed form cannot, and the adapters know few names."""


@final
class Projection(nn.Module):
    """Maps inputs (n, i) to unit vectors (n, d): standardises, then adds a linear map and one hidden layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: tuple[float, float] = (0.0, 0.0)) -> None:
        """Draw random weights; `dropout` holds the fractions of inputs and hidden units dropped in training."""
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(inputs))
        self.deviation = nn.Buffer(torch.ones(inputs))
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.enter = nn.Linear(inputs, hidden)
        self.leave = nn.Linear(hidden, outputs)
        self.dropout = dropout

    def standardise(self, samples: Tensor) -> None:
        """Set mean and deviation to those of samples (n, i); inputs that never vary stay finite."""
        deviation = samples.std(dim=0)
        self.mean.copy_(samples.mean(dim=0))
        self.deviation.copy_(deviation.clamp(min=1e-3 * float(deviation.mean().clamp(min=1e-6))))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return unit vectors (n, d) of inputs (n, i)."""
        standard = functional.dropout((inputs - self.mean) / self.deviation, self.dropout[0], self.training)
        hidden = functional.dropout(functional.gelu(self.enter(standard)), self.dropout[1], self.training)
        return functional.normalize(self.linear(standard) + self.leave(hidden), dim=-1)


@final
class Adapters(nn.Module):
    """The two networks of one image tower and the scale of their logits."""

    identity: str = ""  # Sha256 of the file; empty where the package pins it

    def __init__(self, tower: str, image: Projection, text: Projection, scale: float = 20.0) -> None:
        """Join the networks of a tower, given by name, with an initial logit per unit of cosine, `scale`."""
        super().__init__()
        self.tower, self.image, self.text = tower, image, text
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        # Used by the sigmoid loss only: it is the same for all pairs and changes no ranking.
        self.bias = nn.Parameter(torch.tensor(-math.log(1024.0)))

    @property
    def scale(self) -> Tensor:
        """Return the logit per unit of cosine, ()."""
        return self.log_scale.exp().clamp(max=_STEEPEST)


@dataclass(frozen=True)
class _Parts:
    """The parts of a sentence's embedding, one for each way to score it."""

    adapted: Tensor  # (d,): unit vector
    closed_form: Tensor  # Unit vector of the closed form's space
    closed_form_weight: Tensor  # (): in [0, 1]

    __repr__ = short_repr


@final
class AdaptedGuidance(AbstractGuidance):
    """One image tower with its adapters, and optionally its closed form."""

    def __init__(
        self, closed_form: LitGuidance, adapters: Adapters, both: bool, fronts: FrontProbe | None = None
    ) -> None:
        """Join adapters to their tower; `both` mixes their scores with the closed form's.

        `fronts` says which things have a front; it is for adapters that were trained to tell sides.

        Raises MissingPackageError: the adapters are of another width than the tower.
        """
        super().__init__()
        wanted, found = closed_form.tower.width, adapters.image.linear.in_features
        if wanted != found:
            raise MissingPackageError(
                f"the adapters for {adapters.tower} take {found} numbers an image, but the tower gives {wanted}; "
                "train new ones with: dreamfields lit train DATA --out FILE"
            )
        self.closed_form, self.adapters, self.both, self.fronts = closed_form, adapters, both, fronts
        self.name, self.identity = closed_form.name, adapters.identity
        self.image_size = closed_form.image_size
        self.width = adapters.image.leave.out_features
        with torch.no_grad():
            self.class_texts = nn.Buffer(adapters.text(closed_form.class_sentences))  # (1000, d)

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the closed form."""
        return self.closed_form.image_sizes

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences: the adapters' and, for `both`, the closed form's after them.

        The length of each part is the square root of its weight, from which `score` computes the weights.
        """
        embeddings = self.closed_form.sentences.encode(sentences)
        adapted: Tensor = self.adapters.text(embeddings)
        if not self.both:
            return adapted
        weight = self._weight_of(embeddings)
        closed = self.closed_form.embed_sentences(embeddings)
        return torch.cat([(1.0 - weight).sqrt() * adapted, weight.sqrt() * closed], dim=-1)

    def encode_sides(self, prompt: str) -> Tensor:
        """Return the embeddings (s, d) of sentences of the sides in the adapters' own space."""
        told: Tensor = self.adapters.text(self.closed_form.sentences.encode(side_sentences(prompt)))
        return told

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of images (b, 3, h, w) in [0, 1], differentiably."""
        features, adapted = self._embed(images)
        if not self.both:
            return adapted
        return torch.cat([adapted, self.closed_form.embed_features(features)], dim=-1) / math.sqrt(2.0)

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that the text tower ignores."""
        return self.closed_form.unread_words(sentence)

    def unknown_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words of a sentence that the text tower cannot read: it reads English."""
        return self.closed_form.unknown_words(sentence)

    def has_front(self, prompt: str, *, from_shape: bool = False) -> bool:
        """Return whether a thing has a front that the adapters can tell.

        From a blob the name of a class is left to the closed form, which they do not help: with sides five such nouns
        were recognised in fewer views and foggier (docs/log/renders_2026-11-28.md). A shape has its sides already, and
        without them the closed form makes a face of each.
        """
        if self.fronts is None:
            return False
        embedding = self.closed_form.sentences.encode([sentence(prompt)])
        if self.both and not from_shape and self._weight_of(embedding) > _NEARLY_ONE:
            return False
        return bool(self.fronts.has_front(embedding.cpu()))

    def textureless_embedding(self, text_embedding: Tensor) -> Tensor | None:
        """Return the adapters' part of an embedding (d,); None where the adapters' weight is less than one quarter."""
        if not self.both:
            return text_embedding
        wanted = self._parts(text_embedding)
        if wanted.closed_form_weight > _MAX_CLOSED_FORM_WEIGHT:
            return None
        return torch.cat([wanted.adapted, torch.zeros_like(wanted.closed_form)])

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        """Return (b,): a tenth of the adapters' margin, or its weighted mean with the closed form's score."""
        wanted = self._parts(text_embedding)
        if wanted.closed_form_weight > _NEARLY_ONE:
            # The prompt is the name of a class: but for rounding, the adapters' score would count for nothing.
            return self.closed_form.score(images, wanted.closed_form, sharpness)
        return self._mixed(*self._embed(images), wanted, sharpness)

    def sided_score(
        self, images: Tensor, text_embedding: Tensor, sides: Sides, sharpness: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the score and a tenth of `side_score` of the adapters' logits: the closed form knows no sides."""
        features, adapted = self._embed(images)
        told = side_score(self.adapters.scale * adapted @ sides.directions.T, sides.seen)
        score = self._mixed(features, adapted, self._parts(text_embedding), sharpness)
        return score, sides.weight * LOGIT_SCALE * told

    def _mixed(self, features: Tensor, adapted: Tensor, wanted: _Parts, sharpness: float) -> Tensor:
        """Return the score (b,) of the tower's features (b, f) and the adapters' embeddings (b, d) of images."""
        weight = wanted.closed_form_weight
        margin = self._margin(adapted, wanted.adapted, sharpness)
        if weight < 1.0 - _NEARLY_ONE:
            return margin
        closed = self.closed_form.score_features(features, wanted.closed_form, sharpness)
        return (1.0 - weight) * margin + weight * closed

    def _margin(self, adapted: Tensor, wanted: Tensor, sharpness: float) -> Tensor:
        """Return a tenth of the margin of a sentence (d,) over the class names, (b,), for images (b, d)."""
        scale = self.adapters.scale
        return LOGIT_SCALE * (scale * (adapted @ wanted) - rivals(self._class_logits(adapted, wanted), sharpness))

    def _class_logits(self, adapted: Tensor, wanted: Tensor) -> Tensor:
        """Return logits (b, 1000) of the class names, each less the more it says what the sentence (d,) says."""
        alike = (self.class_texts @ wanted).clamp(0.0, _MOST_ALIKE)
        return self.adapters.scale * adapted @ self.class_texts.T + torch.log1p(-alike)

    def _embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tower's features (b, f) and the adapters' unit embeddings (b, d) of images."""
        features, levels = self.closed_form.tower.levels(images)
        return features, self.adapters.image(torch.cat([features, levels], dim=-1))

    def _weight_of(self, embeddings: Tensor) -> Tensor:
        """Return the closed form's weight (n, 1) for sentence embeddings (n, e); see `closed_form_weight`."""
        return closed_form_weight((embeddings @ self.closed_form.class_sentences.T).amax(dim=-1, keepdim=True))

    def _parts(self, text_embedding: Tensor) -> _Parts:
        """Return the parts of an embedding (d,); without `both` that of the closed form is empty, its weight 0."""
        wanted, named = text_embedding.tensor_split([self.width])
        weight = named.square().sum() / text_embedding.square().sum()
        return _Parts(functional.normalize(wanted, dim=0), functional.normalize(named, dim=0), weight)


def closed_form_weight(nearness: Tensor) -> Tensor:
    """Return the closed form's weight for cosines to the nearest class name: 0 to 0.5, and 1 for a class name."""
    covered = ((nearness - COVERED[0]) / (COVERED[1] - COVERED[0])).clamp(0.0, 1.0)
    named = ((nearness - NAMED_FROM) / (1.0 - NAMED_FROM)).clamp(0.0, 1.0)
    return 0.5 * covered + 0.5 * named


def adapters_bytes(adapters: Adapters, facts: Mapping[str, str]) -> bytes:
    """Return a file of adapters with `facts` in its metadata."""
    state = {name: value.detach().to(torch.float16).contiguous() for name, value in adapters.state_dict().items()}
    # One entry, because safetensors writes several in random order.
    about = json.dumps({**facts, "format": FORMAT, "tower": adapters.tower}, sort_keys=True)
    return safetensors.torch.save(state, {_ABOUT: about})


def read_adapters(path: Path) -> Adapters:
    """Load adapters from a file, frozen, with the file's identity.

    Raises MissingPackageError: the file is missing, cut short, or holds no adapters.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MissingPackageError(f"{path} is too large for adapters; name a file that `lit train` has written")
        content = path.read_bytes()
    except OSError as error:
        raise MissingPackageError(
            f"adapters {path} cannot be read ({error.strerror or error}); "
            "make them with: dreamfields lit train DATA --out FILE"
        ) from error
    try:
        facts = {name: str(value) for name, value in safetensors_facts(content, _ABOUT).items()}
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']!r} in place of {FORMAT!r}")
        state = {name: value.float() for name, value in safetensors.torch.load(content).items()}
        if not all(bool(value.isfinite().all()) for value in state.values()):
            raise ValueError("numbers that are not finite")
        adapters = Adapters(facts["tower"], _projection(state, "image"), _projection(state, "text"))
        adapters.load_state_dict(state)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise MissingPackageError(
            f"{path} is cut short or holds no adapters ({error}); make them with: dreamfields lit train DATA --out FILE"
        ) from error
    adapters.identity = hashlib.sha256(content).hexdigest()
    return adapters.requires_grad_(False).eval()


def packaged_adapters(source: AdapterSource) -> Adapters:
    """Load adapters of this package. Raises MissingPackageError: the file is missing or not the recorded one."""
    adapters = read_adapters(source.path())
    adapters.identity = ""  # Not needed: the digest is pinned.
    return adapters


def _projection(state: Mapping[str, Tensor], side: str) -> Projection:
    hidden, inputs = state[f"{side}.enter.weight"].shape
    return Projection(inputs, hidden, state[f"{side}.linear.weight"].shape[0])
