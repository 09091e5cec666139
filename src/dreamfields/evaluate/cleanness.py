"""How clean an object is, whatever it shows: haze in its views, and density that lies apart from it.

Notation: o (v, 1, h, w) opacities of v held-out views in [0, 1]; volume (n, n, n) densities on a lattice over the cube.
Both measures lie in [0, 1], and 0 is clean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from dreamfields.optimize import losses
from dreamfields.render.renderer import Rendering
from dreamfields.scene.fields.base import AbstractField

CELLS = 64
"""Cells a side of the lattice on which pieces are looked for."""
THRESHOLD = 0.5
"""Density from which a node belongs to a piece: that at which rendering takes cells for occupied."""


@dataclass(frozen=True)
class Cleanness:
    """Both measures of an object."""

    fog: float
    outside: float


def cleanness(field: AbstractField, views: Sequence[Rendering]) -> Cleanness:
    """Return both measures of a field, given what the judge sees of it."""
    with torch.no_grad():
        volume = field.density_volume(CELLS)
    return Cleanness(fog(torch.cat([view.opacity for view in views])), outside(volume))


def fog(opacity: Tensor) -> float:
    """Return the mean of 4 o (1 - o) over the pixels of all views with o > 0.05: 0 is a cut-out, 1 is all haze."""
    return float(losses.fog(opacity))


def outside(volume: Tensor, threshold: float = THRESHOLD) -> float:
    """Return the share of all density that does not belong to the piece that holds the most of it.

    A piece is a set of nodes with at least the threshold that touch, if only at a corner: thin handles run between the
    axes of the lattice. Haze below the threshold belongs to no piece. Of nothing at all the share is 0.
    """
    densities = volume.double().cpu().numpy()
    total = float(densities.sum())
    if total == 0.0:
        return 0.0
    pieces, _ = ndimage.label(densities >= threshold, structure=np.ones((3, 3, 3)))
    held = np.bincount(pieces.ravel(), weights=densities.ravel())
    held[0] = 0.0  # What belongs to no piece.
    return 1.0 - float(held.max()) / total
