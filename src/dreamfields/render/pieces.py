"""Which cells of a field belong to its object, without the haze around it and small pieces apart from it.

Guidance draws some ground and mist around what stands on nothing. A mesh has neither, for both lie below its level or
are apart; with these cells pictures show what the mesh is.
"""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dreamfields.scene.fields.base import AbstractField

SOLID: Final = 2.0  # Density from which a node belongs to a piece, in inverse scene units
LEAST: Final = 0.02  # Density held by a piece that is kept, as a fraction of that in the largest
REACH: Final = 2  # Cells around the pieces that are kept with them, for their soft edges
_TOUCHING: Final = np.ones((3, 3, 3))  # Nodes of a piece may touch at a corner: thin handles run diagonally


@torch.no_grad()
def main_pieces(field: AbstractField, occupancy: Tensor) -> Tensor:
    """Return which occupied cells, bool (k, k, k), are near a solid piece of the field that is not tiny.

    All of them are where nothing is solid, such as in a cloud, and where the field goes on beyond the cube.
    """
    if not field.bounded:
        return occupancy
    pieces, held = label_pieces(field.density_volume(len(occupancy)), SOLID)
    if len(held) == 1:
        return occupancy
    kept = ndimage.binary_dilation((held >= LEAST * held.max())[pieces], structure=_TOUCHING, iterations=REACH)
    nodes = torch.from_numpy(kept).to(occupancy.device, torch.float32)
    return occupancy & (functional.max_pool3d(nodes[None], kernel_size=2, stride=1)[0] > 0.0)


def label_pieces(volume: Tensor, threshold: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the piece of each node of densities (n, n, n), 0 where it is below the threshold, and the density of each.

    A piece is a set of nodes from the threshold on that touch. The densities (p + 1,) are sums over its nodes; the
    first, of what belongs to none, is 0.
    """
    densities = volume.double().cpu().numpy()
    pieces, _ = ndimage.label(densities >= threshold, structure=_TOUCHING)
    held = np.bincount(pieces.ravel(), weights=densities.ravel())
    held[0] = 0.0
    return pieces, held
