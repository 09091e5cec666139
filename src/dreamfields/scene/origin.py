"""The running centre of the density, for cameras to follow (Dream Fields, appendix; released code).

Notation: c = sum_i sigma_i x_i / sum_i sigma_i over the nodes x_i of an even lattice in the cube; o <- m o + (1 - m) c
from o = 0 on, with m the memory.
"""

import torch
from torch import Tensor

from dreamfields.scene.fields.base import AbstractField, lattice
from dreamfields.scene.settings import CameraSettings

CELLS = 32  # Cells a side of the lattice: 36,000 queries, some hundredths of those of one of the paper's steps


@torch.no_grad()
def density_centre(field: AbstractField, cells: int = CELLS) -> Tensor:
    """Return the density-weighted centre c, (3,), in scene units, on the CPU; NaN without any density."""
    density = field.density_volume(cells).reshape(-1)
    points = lattice(cells, density.device).points
    centre: Tensor = (density.double() @ points.double()) / density.double().sum()
    return centre.cpu()


def follow(origin: Tensor, centre: Tensor, memory: float) -> Tensor:
    """Return the tracked centre (3,) after one more step; a centre that is not finite does not change it."""
    return memory * origin + (1.0 - memory) * centre if bool(torch.isfinite(centre).all()) else origin


def camera_target(origin: Tensor, settings: CameraSettings, progress: float) -> tuple[float, float, float]:
    """Return the point that cameras look at after a fraction `progress` of the steps."""
    follows = settings.track == "on" or (settings.track == "delayed" and progress >= settings.track_from)
    x, y, z = origin.tolist() if follows else (0.0, 0.0, 0.0)
    return x, y, z
