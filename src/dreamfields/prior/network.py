"""A small network from the embedding of a sentence to a coarse object, trained on 3D models with names.

It returns a probability of being solid at every node of a coarse lattice. Where it has seen many things of a name, or
none, these are blurred; how good it expects its shape to be follows from them alone (`expected_overlap`), and of the
overlap with models of names that it has never seen they tell three quarters (docs/prior.md).

Notation: b sentences, e numbers of an embedding, n nodes a side of the lattice, indexed [z, y, x]; p probabilities.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.errors import MissingPackageError
from dreamfields.reprs import short_repr
from dreamfields.scene.coarse import CoarseObject

FORMAT: Final = "1"
_ABOUT: Final = "prior"
_LARGEST_FILE: Final = 64_000_000
_THRESHOLDS: Final = torch.arange(0.08, 0.62, 0.02)  # Probabilities among which the surface is chosen
_NEVER: Final = 1e-4  # A probability is never nearer to 0 or 1
RETRAIN: Final = "make one with: dreamfields prior train SHAPES --out FILE"


@dataclass(frozen=True)
class PriorSizes:
    """Sizes of the network."""

    embedding: int = 384
    """Numbers of a sentence embedding."""
    nodes: int = 17
    """Nodes a side of the lattice."""
    hidden: int = 768
    """Units of both hidden layers."""
    shapes: int = 192
    """Numbers that a shape is a linear map of."""
    colours: int = 48
    """Numbers that colours are a linear map of."""


@final
class ShapePrior(nn.Module):
    """The network; its inputs are unit vectors."""

    identity: str = ""  # Sha256 of its file

    def __init__(self, sizes: PriorSizes, dropout: float = 0.0) -> None:
        """Draw random weights; `dropout` is the fraction of hidden units dropped in training."""
        super().__init__()
        self.sizes, self.dropout = sizes, dropout
        count = sizes.nodes**3
        self.enter = nn.Linear(sizes.embedding, sizes.hidden)
        self.norm = nn.LayerNorm(sizes.hidden)
        self.middle = nn.Linear(sizes.hidden, sizes.hidden)
        self.shape = nn.Linear(sizes.hidden, sizes.shapes)
        self.colour = nn.Linear(sizes.hidden, sizes.colours)
        self.solid = nn.Linear(sizes.shapes, count)
        self.tint = nn.Linear(sizes.colours, 3 * count)

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of being solid (b, n, n, n) and of colours (b, n, n, n, 3) for unit embeddings (b, e)."""
        scaled = embeddings * self.sizes.embedding**0.5  # So that each number has a variance of 1
        first = functional.gelu(self.enter(scaled))
        second = first + functional.gelu(self.middle(self._dropped(self.norm(first))))
        second, lattice = self._dropped(second), 3 * (self.sizes.nodes,)
        logits = self.solid(self.shape(second)).unflatten(-1, lattice)
        return logits, self.tint(self.colour(second)).unflatten(-1, (*lattice, 3))

    @torch.no_grad()
    def predict(self, embedding: Tensor) -> "Prediction":
        """Return what the network makes of a sentence's unit embedding (e,)."""
        solid, tint = self(embedding[None])
        probability = torch.sigmoid(solid[0]).clamp(_NEVER, 1.0 - _NEVER)
        surface, overlap = best_threshold(probability)
        occupancy = torch.sigmoid(torch.logit(probability) - torch.logit(surface))
        return Prediction(CoarseObject(occupancy, torch.sigmoid(tint[0])), float(overlap))

    def _dropped(self, hidden: Tensor) -> Tensor:
        return functional.dropout(hidden, self.dropout, self.training)


@dataclass(frozen=True)
class Prediction:
    """A coarse object and how good it is expected to be."""

    coarse: CoarseObject  # Its surface is where the occupancy is 0.5
    overlap: float  # Expected overlap with the thing itself, intersection over union in [0, 1]

    __repr__ = short_repr


def expected_overlap(probability: Tensor, threshold: Tensor) -> Tensor:
    """Return sum p [p > t] / sum max(p, [p > t]) over the last three axes: the ratio of expected intersection to union.

    Intersection and union are those of the nodes above the threshold t with a thing whose nodes are solid with p.
    """
    above = (probability > threshold).to(probability)
    union = torch.maximum(probability, above).sum(dim=(-1, -2, -3))
    return (probability * above).sum(dim=(-1, -2, -3)) / union.clamp(min=1e-6)


def best_threshold(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Return of probabilities (n, n, n) the threshold with the largest `expected_overlap`, and that, () each."""
    overlaps = torch.stack([expected_overlap(probability, threshold) for threshold in _THRESHOLDS])
    best = overlaps.argmax()
    return _THRESHOLDS[best], overlaps[best]


def prior_bytes(prior: ShapePrior, facts: Mapping[str, str]) -> bytes:
    """Return a file of a prior with `facts` in its metadata, at half precision."""
    state = {name: value.detach().to(torch.float16).contiguous() for name, value in prior.state_dict().items()}
    # One entry, because safetensors writes several in random order.
    return safetensors.torch.save(state, {_ABOUT: json.dumps({**facts, "format": FORMAT}, sort_keys=True)})


def read_prior(path: Path) -> ShapePrior:
    """Load a prior from a file, frozen, with the file's identity.

    Raises MissingPackageError: the file is missing, cut short, of another version, or holds no prior.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MissingPackageError(f"{path} is too large for a prior; {RETRAIN}")
        content = path.read_bytes()
    except OSError as error:
        raise MissingPackageError(f"the prior {path} cannot be read ({error.strerror or error}); {RETRAIN}") from error
    try:
        if (made := _metadata(content)["format"]) != FORMAT:
            raise MissingPackageError(f"{path} is a prior of format {made}, and this version reads {FORMAT}; {RETRAIN}")
        state = {name: value.float() for name, value in safetensors.torch.load(content).items()}
        if not all(bool(value.isfinite().all()) for value in state.values()):
            raise ValueError("numbers that are not finite")
        prior = ShapePrior(_sizes(state))
        prior.load_state_dict(state)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise MissingPackageError(f"{path} is cut short or holds no prior ({error}); {RETRAIN}") from error
    prior.identity = hashlib.sha256(content).hexdigest()
    return prior.requires_grad_(False).eval()


def _metadata(content: bytes) -> dict[str, str]:
    """Return the facts in a file; safetensors begin with 8 bytes of the header's length, then the header as JSON."""
    header: Any = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts: Any = json.loads(header["__metadata__"][_ABOUT])
    return {str(name): str(value) for name, value in facts.items()}


def _sizes(state: Mapping[str, Tensor]) -> PriorSizes:
    hidden, embedding = state["enter.weight"].shape
    count, shapes = state["solid.weight"].shape
    nodes = round(count ** (1.0 / 3.0))
    return PriorSizes(embedding, nodes, hidden, shapes, state["tint.weight"].shape[1])
