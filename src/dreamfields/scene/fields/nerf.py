"""The network that Dream Fields starts from: NeRF's, without a view direction (table 1, "simplified NeRF").

Notation: eight layers of 256, h <- relu(A h), the sixth of which sees the features again; (r, g, b, s) = E h;
c = sigmoid(r, g, b); sigma = relu(s).
"""

from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.scene.encoding import draw_frequencies
from dreamfields.scene.fields.base import AbstractField, Evaluator, lattice
from dreamfields.scene.fields.networks import BatchedNetwork, init_linear
from dreamfields.scene.settings import MlpSettings

LAYERS: Final = 8
_SEES_AGAIN: Final = 5
_FIRST_DENSITY: Final = 0.5


@final
class NerfField(AbstractField):
    """A radiance field that is a plain network; of the settings only encoding, `hidden` and how it is asked count."""

    frequencies: Tensor

    def __init__(self, settings: MlpSettings, generator: torch.Generator) -> None:
        """Make the network with random weights from a generator of the CPU."""
        super().__init__()
        self.settings = settings
        frequencies = draw_frequencies(settings.frequencies, settings.max_octave, settings.directions)
        self.register_buffer("frequencies", frequencies)
        features, width = 2 * len(frequencies), settings.hidden
        inputs = [features, *[width] * (LAYERS - 1)]
        inputs[_SEES_AGAIN] += features
        self.layers = nn.ModuleList([nn.Linear(count, width) for count in inputs])
        self.head = nn.Linear(width, 4)
        for layer in (*self.layers, self.head):
            assert isinstance(layer, nn.Linear)
            init_linear(layer, generator)
        with torch.no_grad():
            # A relu that is nowhere above 0 has no gradient, and such a scene stays empty.
            self.head.bias[3] = _FIRST_DENSITY
        self.batched = BatchedNetwork(self, settings, functional.relu)

    def evaluator(self) -> Evaluator:
        """Return an evaluator at the present step's scale, which keeps the layers of few points at a time."""
        return self.batched.evaluator(self, self.frequencies)

    def density_volume(self, cells: int) -> Tensor:
        """Return densities on an even lattice of cells+1 nodes a side, indexed [z, y, x], each the mean of its cell."""
        density = self.evaluator()(lattice(cells, self.frequencies.device)).density
        return density.reshape(cells + 1, cells + 1, cells + 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return red, green, blue and density before their last functions, (n, 4), of features (n, 2 m)."""
        hidden = features
        for index, layer in enumerate(self.layers):
            hidden = functional.relu(layer(torch.cat([features, hidden], dim=-1) if index == _SEES_AGAIN else hidden))
        values: Tensor = self.head(hidden)
        return values
