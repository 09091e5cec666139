"""Adapters: what is trained between a locked image tower and a locked text tower (LiT, Zhai et al., CVPR 2022).

Both towers stay as their packages have them. Two small networks lead their outputs into one space, where the cosine of
a picture and a sentence, times a learned scale, is a logit: how much likelier the two belong together.

A file of adapters is safetensors, half precision, with the tower's name in its metadata.

Notation: f numbers that a tower gives for a picture (its features, then its levels), e numbers of a sentence embedding,
d dimensions of the joint space, k hidden units.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
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
    """Inputs (n, i) to unit vectors (n, d): standardised, then a linear map and one hidden layer beside it."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: tuple[float, float] = (0.0, 0.0)) -> None:
        """Make one with random weights.

        Args:
            inputs: numbers a picture or sentence comes with, i.
            hidden: units of the hidden layer, k.
            outputs: dimensions of the joint space, d.
            dropout: shares of the inputs and of the hidden units that are left out while training.
        """
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(inputs))
        self.deviation = nn.Buffer(torch.ones(inputs))
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.enter = nn.Linear(inputs, hidden)
        self.leave = nn.Linear(hidden, outputs)
        self.dropout = dropout

    def standardise(self, samples: Tensor) -> None:
        """Take mean and deviation of samples (n, i) as those of all inputs; constant inputs stay finite."""
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
    """The two networks of one tower and the scale of their logits."""

    def __init__(self, tower: str, image: Projection, text: Projection, scale: float = 20.0) -> None:
        """Join two networks that end in the same space.

        Args:
            tower: name of the image tower they belong to.
            image: for what the tower makes of a picture.
            text: for sentence embeddings.
            scale: logits per unit of cosine, to begin with.
        """
        super().__init__()
        self.tower = tower
        self.image = image
        self.text = text
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        # Of the sigmoid loss alone; it is the same for all pairs, so no order changes by it.
        self.bias = nn.Parameter(torch.tensor(-math.log(1024.0)))

    def embed_images(self, features: Tensor, levels: Tensor) -> Tensor:
        """Return unit vectors (n, d) of what the tower makes of n pictures."""
        embedded: Tensor = self.image(torch.cat([features, levels], dim=-1))
        return embedded

    def embed_texts(self, embeddings: Tensor) -> Tensor:
        """Return unit vectors (n, d) of sentence embeddings (n, e)."""
        embedded: Tensor = self.text(embeddings)
        return embedded

    @property
    def scale(self) -> Tensor:
        """Return the logits per unit of cosine, ()."""
        return self.log_scale.exp().clamp(max=_STEEPEST)


def adapters_bytes(adapters: Adapters, facts: Mapping[str, str]) -> bytes:
    """Return a file of adapters; `facts` go into its metadata."""
    state = {name: value.detach().to(torch.float16).contiguous() for name, value in adapters.state_dict().items()}
    # One entry, for several would be written in another order each time.
    about = json.dumps({**facts, "format": FORMAT, "tower": adapters.tower}, sort_keys=True)
    return safetensors.torch.save(state, {_ABOUT: about})


def read_adapters(path: Path) -> Adapters:
    """Return the frozen adapters in a file.

    Raises:
        MissingPackageError: the file is missing, cut short, or holds no adapters.
    """
    content = _content(path)
    try:
        facts = _facts(content)
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
    return adapters.requires_grad_(False).eval()


@dataclass(frozen=True)
class TrainedAdapters:
    """Adapters, and what tells their file from all others."""

    adapters: Adapters
    identity: str = ""
    """The file's sha256; empty where the package pins it."""


def packaged_adapters(source: AdapterSource) -> TrainedAdapters:
    """Return the adapters that the package ships for a tower.

    Raises:
        MissingPackageError: the file is missing or not the recorded one.
    """
    return TrainedAdapters(read_adapters(source.path()))


def file_adapters(path: Path) -> TrainedAdapters:
    """Return the adapters in a file of one's own.

    Raises:
        MissingPackageError: the file is missing, cut short, or holds no adapters.
    """
    return TrainedAdapters(read_adapters(path), hashlib.sha256(_content(path)).hexdigest())


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


def _facts(content: bytes) -> dict[str, str]:
    """Return what a file says of itself; safetensors are 8 bytes with the header's length, the header as JSON, data."""
    length = int.from_bytes(content[:8], "little")
    header: Any = json.loads(content[8 : 8 + length])
    facts: Any = json.loads(header["__metadata__"][_ABOUT])
    return {str(name): str(value) for name, value in facts.items()}


def _projection(state: Mapping[str, Tensor], side: str) -> Projection:
    hidden, inputs = state[f"{side}.enter.weight"].shape
    return Projection(inputs, hidden, state[f"{side}.linear.weight"].shape[0])
