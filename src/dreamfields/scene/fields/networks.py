"""How a network is asked for density and colour: features, a bounded number of points at a time, last functions.

What the network is, features (n, 2 m) in and values (n, 4) out, is the fields' own matter (`mlp`, `nerf`). Notation:
values are red, green, blue and s; c = sigmoid(red, green, blue); sigma = softplus(s + disturbance) or relu of it.
"""

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dreamfields.scene.encoding import footprint_scale, frustum_covariance, integrated_encoding, plain_encoding
from dreamfields.scene.fields.base import AbstractField, DensityNoise, Evaluator, FieldValues, Query
from dreamfields.scene.settings import MlpSettings

POINT_BATCH_SIZE: Final = 32_768
"""Layers of so many points are held at a time, 0.1 GB or with a gradient 0.5 GB, however many are asked for."""
_CUDA_BATCH_FACTOR: Final = 16
"""Times as many on a GPU, which takes about as long for few points as for many."""

Network = Callable[[Tensor], Tensor]
Activation = Callable[[Tensor], Tensor]


@final
class BatchedNetwork:
    """Puts queries to a network.

    Attributes:
        fault: why the network is not compiled although it should be; empty while all is well.
    """

    def __init__(self, network: nn.Module, settings: MlpSettings, density: Activation = functional.softplus) -> None:
        """Tie a network to its encoding; it is compiled, if it is to be, when it is first asked."""
        self.network: Network = network.forward
        self.parameters = tuple(network.parameters())
        self.settings = settings
        self.density = density
        self.fault = ""
        self._compiled: Callable[..., Tensor] | None = None

    def evaluator(self, field: AbstractField, frequencies: Tensor) -> Evaluator:
        """Return an evaluator at the field's present step, which keeps the layers of few points at a time."""
        scale = footprint_scale(field.step, self.settings.anneal_steps)
        if self.settings.compiled and self._compiled is None:
            # Here and not where it is first used, which is within a checkpoint where layers are recomputed.
            self._compiled = self._compile(frequencies)
        answer = partial(self.values, frequencies=frequencies, scale=scale)
        decode = partial(self._decode, field.density_noise)

        def evaluate(query: Query) -> FieldValues:
            learns = torch.is_grad_enabled()
            batch_size = point_batch_size(query.points.device)
            keeps = learns and not self.settings.checkpoint_layers
            if len(query) <= batch_size or (keeps and not self.settings.compiled):
                return decode(answer(query))
            parts = [query[start : start + batch_size] for start in range(0, len(query), batch_size)]
            if learns and not keeps:
                again = partial(checkpoint, answer, use_reentrant=False, preserve_rng_state=False)
                return decode(torch.cat([again(part) for part in parts]))
            return decode(torch.cat([answer(part) for part in parts]))

        return evaluate

    def values(self, query: Query, frequencies: Tensor, scale: float) -> Tensor:
        """Return red, green, blue and s, (n, 4), of samples which count as `scale` times as large as they are."""
        parts = (query.points, query.directions, query.lengths, query.radii)
        # Full parts alone: for another number of points there would be another kernel to compile.
        full = len(query) == point_batch_size(query.points.device)
        if self._compiled is None or self.fault or not full:
            return self._plain(*parts, frequencies, scale)
        # A tensor, for a number would be compiled in and there is another each step.
        return self._compiled(*parts, frequencies, torch.tensor(scale, device=query.points.device))

    def _plain(
        self,
        points: Tensor,
        directions: Tensor,
        lengths: Tensor,
        radii: Tensor,
        frequencies: Tensor,
        scale: float | Tensor,
    ) -> Tensor:
        features = encode(self.settings, Query(points, directions, lengths, radii), frequencies, scale)
        if self.settings.precision == "fp32":
            return self.network(features)
        # Not the features themselves: phases of hundreds of radians would lose their place within the circle.
        with torch.autocast(points.device.type, dtype=torch.bfloat16):
            return self.network(features).float()

    def _compile(self, frequencies: Tensor) -> Callable[..., Tensor]:
        """Return the compiled function, tried out both ways; or the plain one, with the reason why in `fault`."""
        device = frequencies.device
        count = point_batch_size(device)
        points, ones = torch.full((count, 3), 0.5, device=device), torch.ones(count, device=device)
        scale = torch.tensor(1.0, device=device)
        try:
            compiled: Callable[..., Tensor] = torch.compile(self._plain, dynamic=False)
            with torch.enable_grad():
                tried = compiled(points, functional.normalize(points, dim=-1), ones, ones, frequencies, scale)
                torch.autograd.grad(tried.sum(), [*self.parameters])
            return compiled
        # Whatever a compiler or its back end may raise: it is said, and the plain function gives the same values.
        except Exception as error:
            self.fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
            warnings.warn(f"torch.compile does not work here, going on without: {self.fault}", stacklevel=2)
            return self._plain

    def _decode(self, density_noise: DensityNoise | None, values: Tensor) -> FieldValues:
        s = values[:, 3] if density_noise is None else density_noise(values[:, 3])
        return FieldValues(density=self.density(s), colour=torch.sigmoid(values[:, :3]))


def point_batch_size(device: torch.device) -> int:
    """Return the most points whose layers are held at a time."""
    return POINT_BATCH_SIZE * (_CUDA_BATCH_FACTOR if device.type == "cuda" else 1)


def encode(settings: MlpSettings, query: Query, frequencies: Tensor, scale: float | Tensor) -> Tensor:
    """Return the features (n, 2 m) of samples, which count as `scale` times as large as they are."""
    if settings.encoding == "plain":
        return plain_encoding(query.points, frequencies)
    covariance = frustum_covariance(query.directions, query.lengths, query.radii)
    return integrated_encoding(query.points, covariance, frequencies, scale)


@torch.no_grad()
def init_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """Give a layer Flax's first weights: variance 1 / inputs, normal but for tails cut at two deviations; no bias."""
    # Cutting the tails off takes 12 % of a normal distribution's standard deviation, which is given back first.
    spread = 1.0 / math.sqrt(layer.in_features) / 0.87962566103423978
    nn.init.trunc_normal_(layer.weight, std=spread, a=-2.0 * spread, b=2.0 * spread, generator=generator)
    nn.init.zeros_(layer.bias)
