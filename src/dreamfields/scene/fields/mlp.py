"""The paper's field: a residual network over Fourier features (Dream Fields sec. 4, as released).

Notation: h = swish(A_0 gamma(x)); for each block h <- h + C swish(B norm(h)); (r, g, b, s) = E swish(D h);
c = sigmoid(r, g, b); sigma = softplus(s). Every letter is a matrix with a bias; gamma is `scene.encoding`.
"""

import math
from functools import partial
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dreamfields.scene.encoding import (
    draw_frequencies,
    footprint_scale,
    frustum_covariance,
    integrated_encoding,
    plain_encoding,
)
from dreamfields.scene.fields.base import AbstractField, Evaluator, FieldValues, Query, lattice
from dreamfields.scene.settings import MlpSettings

POINTS_AT_ONCE: Final = 32_768
"""Layers of so many points are held at a time, 0.1 GB or with a gradient 0.5 GB, however many are asked for."""


@final
class MlpField(AbstractField):
    """A radiance field that is a network."""

    frequencies: Tensor

    def __init__(self, settings: MlpSettings, generator: torch.Generator) -> None:
        """Make the network with random weights from a generator of the CPU."""
        super().__init__()
        self.settings = settings
        self.register_buffer("frequencies", draw_frequencies(settings.waves, settings.degree, settings.directions))
        self.early = nn.Linear(2 * len(self.frequencies), settings.width)
        self.blocks = nn.ModuleList([ResidualBlock(settings.width, settings.hidden) for _ in range(settings.blocks)])
        self.late = nn.Linear(settings.width, settings.width)
        self.head = nn.Linear(settings.width, 4)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                start(layer, generator)

    def evaluator(self) -> Evaluator:
        """Return an evaluator at the present step's scale, which keeps the layers of few points at a time."""
        answer = partial(self._answers, footprint_scale(self.step, self.settings.anneal_steps))

        def evaluate(query: Query) -> FieldValues:
            learns = torch.is_grad_enabled()
            if len(query) <= POINTS_AT_ONCE or (learns and not self.settings.recompute):
                return _decode(answer(query))
            parts = [query[start : start + POINTS_AT_ONCE] for start in range(0, len(query), POINTS_AT_ONCE)]
            if learns:
                again = partial(checkpoint, answer, use_reentrant=False, preserve_rng_state=False)
                return _decode(torch.cat([again(part) for part in parts]))
            return _decode(torch.cat([answer(part) for part in parts]))

        return evaluate

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
        if self.settings.encoding == "plain":
            return plain_encoding(query.points, self.frequencies)
        covariance = frustum_covariance(query.directions, query.lengths, query.radii)
        return integrated_encoding(query.points, covariance, self.frequencies, scale)

    def _answers(self, scale: float, query: Query) -> Tensor:
        values: Tensor = self(self.encode(query, scale))
        return values


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


@torch.no_grad()
def start(layer: nn.Linear, generator: torch.Generator) -> None:
    """Give a layer Flax's first weights: variance 1 / inputs, normal but for tails cut at two deviations; no bias."""
    # Cutting the tails off takes 12 % of a normal distribution's standard deviation, which is given back first.
    spread = 1.0 / math.sqrt(layer.in_features) / 0.87962566103423978
    nn.init.trunc_normal_(layer.weight, std=spread, a=-2.0 * spread, b=2.0 * spread, generator=generator)
    nn.init.zeros_(layer.bias)


def _decode(values: Tensor) -> FieldValues:
    return FieldValues(density=functional.softplus(values[:, 3]), colour=torch.sigmoid(values[:, :3]))
