"""Adapters: two small networks trained between a frozen image and a frozen text tower (LiT, Zhai et al., CVPR 2022).

They map the outputs of both towers to one space, where the cosine of an image and a sentence, times a learned scale, is
the logit of a match. A file of adapters is safetensors at half precision, with the tower's name in its metadata.

Notation: f outputs of the image tower (its features, then its levels), e numbers of a sentence embedding, d dimensions
of the joint space, k hidden units.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.lit.weights import AdapterSource

FORMAT = "1"
_LARGEST_FILE = 64_000_000
_STEEPEST = 100.0
_ABOUT = "adapters"


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
        self.tower = tower
        self.image = image
        self.text = text
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        # Used by the sigmoid loss only: it is the same for all pairs and changes no ranking.
        self.bias = nn.Parameter(torch.tensor(-math.log(1024.0)))

    def embed_images(self, features: Tensor, levels: Tensor) -> Tensor:
        """Return unit vectors (n, d) of the tower's features and levels of n images."""
        return self.image.forward(torch.cat([features, levels], dim=-1))

    def embed_texts(self, embeddings: Tensor) -> Tensor:
        """Return unit vectors (n, d) of sentence embeddings (n, e)."""
        return self.text.forward(embeddings)

    @property
    def scale(self) -> Tensor:
        """Return the logit per unit of cosine, ()."""
        return self.log_scale.exp().clamp(max=_STEEPEST)


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
    content = _content(path)
    try:
        facts = _metadata(content)
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


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MissingPackageError(f"{path} is too large for adapters; name a file that `lit train` has written")
        return path.read_bytes()
    except OSError as error:
        raise MissingPackageError(
            f"adapters {path} cannot be read ({error.strerror or error}); "
            "make them with: dreamfields lit train DATA --out FILE"
        ) from error


def _metadata(content: bytes) -> dict[str, str]:
    """Return the facts in a file; safetensors begin with 8 bytes of the header's length, then the header as JSON."""
    header: Any = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts: Any = json.loads(header["__metadata__"][_ABOUT])
    return {str(name): str(value) for name, value in facts.items()}


def _projection(state: Mapping[str, Tensor], side: str) -> Projection:
    hidden, inputs = state[f"{side}.enter.weight"].shape
    return Projection(inputs, hidden, state[f"{side}.linear.weight"].shape[0])
