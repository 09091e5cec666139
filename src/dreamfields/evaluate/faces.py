"""Many faces: does an object show the same side all around? It should not if it has a front.

Notation: f (v, d) features of v views in the eyes of an image tower, centred by their mean over photographs; a (v,)
azimuths; w_ij = 1 - cos(a_i - a_j), 2 for opposite views and 0 for the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.prompts import sides_seen

SQUARE_ON: Final = 4  # Views straight from a side: of the front, of both sides and of the back
MODELS_SEVERITY: Final = 0.73  # Median of 40 models of animals, characters, vehicles and furniture with one front
_STRAIGHT: Final = 0.999  # How much of one side is seen from straight ahead
_FRONT_DEG: Final = 60.0  # Azimuths from the front of one view that may show the front as well


@dataclass(frozen=True)
class Faces:
    """How many faces an object has."""

    severity: float  # See `severity`
    fronts: int  # Views in which a judge sees the front rather than the side or the back
    told: int  # Of `SQUARE_ON` views, those whose side a judge tells
    views: int

    @property
    def many(self) -> bool:
        """Return whether more views show a front than can be of one front."""
        azimuths = [360.0 * view / self.views for view in range(self.views)]
        return self.fronts > sum(min(azimuth, 360.0 - azimuth) <= _FRONT_DEG for azimuth in azimuths)


def severity(features: Tensor, azimuths_deg: Sequence[float]) -> float:
    """Return sum_ij w_ij cos(f_i, f_j) / sum_ij w_ij over pairs of views (v, d): 1 if all look alike.

    Views that are near to each other do look alike, and count little. See `MODELS_SEVERITY`.
    """
    azimuths = torch.deg2rad(torch.tensor(list(azimuths_deg), dtype=features.dtype))
    weights = 1.0 - torch.cos(azimuths[:, None] - azimuths[None, :])
    unit = functional.normalize(features, dim=-1)
    return float((weights * (unit @ unit.T)).sum() / weights.sum())


def fronts(similarities: Tensor) -> int:
    """Return in how many of v views the front is nearest, of cosines (v, 3) with `prompts.side_sentences`."""
    return int((similarities.argmax(dim=1) == 0).sum())


def told(similarities: Tensor, azimuths_deg: Sequence[float]) -> int:
    """Return of how many views straight from a side that side is nearest, of cosines (v, 3) as in `fronts`.

    An object that looks the same all around has at most as many as its one side is seen: 1 of a front, 2 of a side.
    """
    seen = torch.tensor([sides_seen(azimuth) for azimuth in azimuths_deg])
    straight = seen.amax(dim=1) > _STRAIGHT
    return int((similarities.argmax(dim=1) == seen.argmax(dim=1))[straight].sum())
