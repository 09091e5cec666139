"""NeRF's network without view directions, which Dream Fields starts from (table 1, "simplified NeRF").

Notation: eight layers h <- relu(A h), the sixth of which takes the features too; (r, g, b, s) = E h;
c = sigmoid(r, g, b); sigma = relu(s).
"""

from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.scene.fields.networks import AbstractNetworkField, init_layers
from dreamfields.scene.settings import MlpSettings

_SKIP: Final = 5  # Index of the layer that takes the features too


@final
class NerfField(AbstractNetworkField):
    """The plain network; it ignores the settings `width` and `blocks`."""

    def __init__(self, settings: MlpSettings, generator: torch.Generator) -> None:
        """Draw random weights from a generator of the CPU."""
        super().__init__(settings, functional.relu)
        inputs = [settings.features, *[settings.hidden] * 7]
        inputs[_SKIP] += settings.features
        self.layers = nn.ModuleList([nn.Linear(count, settings.hidden) for count in inputs])
        self.head = nn.Linear(settings.hidden, 4)
        init_layers(self, generator)
        with torch.no_grad():
            # Where no pre-activation is above 0 there is no gradient, and the scene would stay empty.
            self.head.bias[3] = 0.5

    def forward(self, features: Tensor) -> Tensor:
        """Return red, green, blue and s, (n, 4), of features (n, 2 m)."""
        hidden = features
        for index, layer in enumerate(self.layers):
            hidden = functional.relu(layer(torch.cat([features, hidden], dim=-1) if index == _SKIP else hidden))
        values: Tensor = self.head(hidden)
        return values
