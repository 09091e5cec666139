"""The paper's field: a residual network over Fourier features (Dream Fields sec. 4, as released).

Notation: h = swish(A_0 gamma(x)); for each block h <- h + C swish(B norm(h)); (r, g, b, s) = E swish(D h);
c = sigmoid(r, g, b); sigma = softplus(s). Every letter is a matrix with a bias; gamma is `scene.encoding`.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.scene.encoding import draw_frequencies
from dreamfields.scene.fields.base import AbstractField, Evaluator, Query, lattice
from dreamfields.scene.fields.networks import BatchedNetwork, encode, init_linear
from dreamfields.scene.settings import MlpSettings


@final
class MlpField(AbstractField):
    """A radiance field that is a network."""

    frequencies: Tensor

    def __init__(self, settings: MlpSettings, generator: torch.Generator) -> None:
        """Make the network with random weights from a generator of the CPU."""
        super().__init__()
        self.settings = settings
        self.register_buffer(
            "frequencies", draw_frequencies(settings.frequencies, settings.max_octave, settings.directions)
        )
        self.early = nn.Linear(2 * len(self.frequencies), settings.width)
        self.blocks = nn.ModuleList([ResidualBlock(settings.width, settings.hidden) for _ in range(settings.blocks)])
        self.late = nn.Linear(settings.width, settings.width)
        self.head = nn.Linear(settings.width, 4)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                init_linear(layer, generator)
        self.batched = BatchedNetwork(self, settings)

    def evaluator(self) -> Evaluator:
        """Return an evaluator at the present step's scale, which keeps the layers of few points at a time."""
        return self.batched.evaluator(self, self.frequencies)

    def density_volume(self, cells: int) -> Tensor:
        """Return densities on an even lattice of cells+1 nodes a side, indexed [z, y, x], each the mean of its cell."""
        density = self.evaluator()(lattice(cells, self.frequencies.device)).density
        return density.reshape(cells + 1, cells + 1, cells + 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return red, green, blue and density before their last functions, (n, 4), of features (n, 2 m)."""
        hidden = functional.silu(self.early(features))
        for block in self.blocks:
            hidden = block(hidden)
        values: Tensor = self.head(functional.silu(self.late(hidden)))
        return values

    def encode(self, query: Query, scale: float = 1.0) -> Tensor:
        """Return the features (n, 2 m) of samples, which count as `scale` times as large as they are."""
        return encode(self.settings, query, self.frequencies, scale)


@final
class ResidualBlock(nn.Module):
    """h + C swish(B norm(h))."""

    def __init__(self, width: int, hidden: int) -> None:
        """Make the layers; the field starts their weights."""
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)  # Flax's eps
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (n, width) of (n, width)."""
        change: Tensor = self.narrow(functional.silu(self.widen(self.norm(hidden))))
        return hidden + change
