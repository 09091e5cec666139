"""The paper's field: a residual network over Fourier features (Dream Fields sec. 4, as released).

Notation: h = swish(A_0 gamma(x)); for each block h <- h + C swish(B norm(h)); (r, g, b, s) = E swish(D h);
c = sigmoid(r, g, b); sigma = softplus(s). Every letter is a matrix with a bias; gamma is `scene.encoding`.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.scene.fields.networks import AbstractNetworkField, init_layers
from dreamfields.scene.settings import MlpSettings


@final
class MlpField(AbstractNetworkField):
    """The residual network."""

    def __init__(self, settings: MlpSettings, generator: torch.Generator) -> None:
        """Draw random weights from a generator of the CPU."""
        super().__init__(settings, functional.softplus)
        self.early = nn.Linear(settings.features, settings.width)
        self.blocks = nn.ModuleList([ResidualBlock(settings.width, settings.hidden) for _ in range(settings.blocks)])
        self.late = nn.Linear(settings.width, settings.width)
        self.head = nn.Linear(settings.width, 4)
        init_layers(self, generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return red, green, blue and s, (n, 4), of features (n, 2 m)."""
        hidden = functional.silu(self.early(features))
        for block in self.blocks:
            hidden = block(hidden)
        values: Tensor = self.head(functional.silu(self.late(hidden)))
        return values


@final
class ResidualBlock(nn.Module):
    """A residual block, h + C swish(B norm(h))."""

    def __init__(self, width: int, hidden: int) -> None:
        """Make the layers; the field initialises their weights."""
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)  # Flax's eps
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (n, width) of (n, width)."""
        change: Tensor = self.narrow(functional.silu(self.widen(self.norm(hidden))))
        return hidden + change
