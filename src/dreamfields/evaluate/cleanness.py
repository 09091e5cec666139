"""How clean an object is, whatever it shows: fog in its views, and density in loose components.

Notation: o (v, 1, h, w) opacities of v held-out views in [0, 1]; volume (n, n, n) densities on a lattice over the cube.
Both measures lie in [0, 1], and 0 is clean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfields.optimize import losses
from dreamfields.render.pieces import label_pieces
from dreamfields.render.renderer import Rendering
from dreamfields.scene.fields.base import AbstractField

CELLS = 64  # Cells a side of the lattice on which components are labelled
THRESHOLD = 0.5  # Density from which a node belongs to a component: that from which rendering counts a cell as occupied


@dataclass(frozen=True)
class Cleanness:
    """Both measures of an object."""

    fog: float
    outside: float


@torch.no_grad()
def cleanness(field: AbstractField, views: Sequence[Rendering]) -> Cleanness:
    """Return both measures of a field, given its held-out views."""
    return Cleanness(fog(torch.cat([view.opacity for view in views])), outside(field.density_volume(CELLS)))


def fog(opacity: Tensor) -> float:
    """Return the mean of 4 o (1 - o) over the pixels of all views with o > 0.05: 0 is opaque, 1 is all fog."""
    return float(losses.fog(opacity))


def outside(volume: Tensor, threshold: float = THRESHOLD) -> float:
    """Return the fraction of all density outside of the component with the most density; 0 of an empty volume.

    Components are those of `label_pieces`. Fog below the threshold belongs to none.
    """
    total = float(volume.double().cpu().numpy().sum())
    if total == 0.0:
        return 0.0
    _, held = label_pieces(volume, threshold)
    return 1.0 - float(held.max()) / total
