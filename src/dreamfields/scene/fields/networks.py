"""What network fields share: Fourier features, batches of points, compilation and the final activations.

Notation: gamma(x) (n, 2 m) are features, (red, green, blue, s) (n, 4) the network's outputs; c = sigmoid(red, green,
blue); sigma = `density`(s), after noise on s where a step adds some.
"""

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dreamfields.scene import encoding
from dreamfields.scene.fields.base import AbstractField, Evaluator, FieldValues, Query, lattice
from dreamfields.scene.settings import MlpSettings

POINT_BATCH_SIZE = 32_768  # Points evaluated at a time on a CPU: their layers take 0.1 GB, or 0.5 GB with a gradient


class AbstractNetworkField(AbstractField):
    """A field that is a network over Fourier features; subclasses add layers and `forward`."""

    frequencies: Tensor

    def __init__(self, settings: MlpSettings, density: Callable[[Tensor], Tensor]) -> None:
        """Draw the frequencies (m, 3) in radians a scene unit; `density` is the activation of s (n,)."""
        super().__init__()
        self.settings, self.density = settings, density
        frequencies = encoding.draw_frequencies(settings.frequencies, settings.max_octave, settings.directions)
        self.register_buffer("frequencies", frequencies)
        self.compile_fault = ""  # Why the network is not compiled although its settings ask for it
        self._compiled: Callable[..., Tensor] | None = None

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Return red, green, blue and s, (n, 4), of features (n, 2 m)."""

    def evaluator(self) -> Evaluator:
        """Return an evaluator at the present step, which holds the layers of one batch of points at a time."""
        scale, noise = encoding.footprint_scale(self.step, self.settings.anneal_steps), self.density_noise
        if self.settings.compiled and self._compiled is None:
            # Not at the first batch, which may lie within a checkpoint, where layers are recomputed.
            self._compiled = self._compile()

        def evaluate(query: Query) -> FieldValues:
            values = self._in_batches(query, scale)
            s = values[:, 3] if noise is None else noise(values[:, 3])
            return FieldValues(self.density(s), torch.sigmoid(values[:, :3]))

        return evaluate

    def density_volume(self, cells: int) -> Tensor:
        """Return densities on an even lattice of cells+1 nodes a side, indexed [z, y, x], each the mean of its cell."""
        density = self.evaluator()(lattice(cells, self.frequencies.device)).density
        return density.reshape(cells + 1, cells + 1, cells + 1)

    def encode(self, query: Query, scale: float | Tensor) -> Tensor:
        """Return the features (n, 2 m) of samples, enlarged by the factor `scale`."""
        if self.settings.encoding == "plain":
            return encoding.plain_encoding(query.points, self.frequencies)
        covariance = encoding.frustum_covariance(query.directions, query.lengths, query.radii)
        return encoding.integrated_encoding(query.points, covariance, self.frequencies, scale)

    def _in_batches(self, query: Query, scale: float) -> Tensor:
        learns, size = torch.is_grad_enabled(), _batch_size(query.points.device)
        recomputes = learns and self.settings.checkpoint_layers
        if len(query) <= size or (learns and not recomputes and not self.settings.compiled):
            return self._values(query, scale)
        values: Callable[[Query], Tensor] = partial(self._values, scale=scale)
        if recomputes:
            values = partial(checkpoint, values, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([values(query[start : start + size]) for start in range(0, len(query), size)])

    def _values(self, query: Query, scale: float) -> Tensor:
        parts = (query.points, query.directions, query.lengths, query.radii)
        # Only full batches: every other number of points would compile another kernel.
        if self._compiled is None or self.compile_fault or len(query) != _batch_size(query.points.device):
            return self._plain(*parts, scale)
        # As a tensor: a number would be compiled in, and it changes with each step.
        return self._compiled(*parts, torch.tensor(scale, device=query.points.device))

    def _plain(
        self, points: Tensor, directions: Tensor, lengths: Tensor, radii: Tensor, scale: float | Tensor
    ) -> Tensor:
        features = self.encode(Query(points, directions, lengths, radii), scale)
        if self.settings.precision == "fp32":
            return self.forward(features)
        # Only the layers: in bfloat16 a phase of hundreds of radians would be wrong by more than a radian.
        with torch.autocast(points.device.type, dtype=torch.bfloat16):
            return self.forward(features).float()

    def _compile(self) -> Callable[..., Tensor]:
        """Return `_plain` compiled and tried forwards and backwards, or itself and say why in `compile_fault`."""
        count = _batch_size(device := self.frequencies.device)
        points, ones = torch.full((count, 3), 0.5, device=device), torch.ones(count, device=device)
        try:
            compiled: Callable[..., Tensor] = torch.compile(self._plain, dynamic=False)
            with torch.enable_grad():
                scale = torch.tensor(1.0, device=device)
                values = compiled(points, functional.normalize(points, dim=-1), ones, ones, scale)
                torch.autograd.grad(values.sum(), [*self.parameters()])
            return compiled
        # A compiler and its back end may raise anything; the plain function gives the same values.
        except Exception as error:
            self.compile_fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
            warnings.warn(f"torch.compile does not work here, going on without: {self.compile_fault}", stacklevel=2)
            return self._plain


def _batch_size(device: torch.device) -> int:
    # A GPU takes about as long for few points as for many.
    return POINT_BATCH_SIZE * (16 if device.type == "cuda" else 1)


@torch.no_grad()
def init_layers(network: nn.Module, generator: torch.Generator) -> None:
    """Initialise linear layers as Flax does: weights of variance 1 / inputs, cut off at two deviations; biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            # The cut takes 12 % of a normal distribution's standard deviation, hence the factor.
            spread = 1.0 / math.sqrt(layer.in_features) / 0.87962566103423978
            nn.init.trunc_normal_(layer.weight, std=spread, a=-2.0 * spread, b=2.0 * spread, generator=generator)
            nn.init.zeros_(layer.bias)
