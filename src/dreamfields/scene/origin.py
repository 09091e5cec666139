"""The centre of what is there, tracked over the steps, for cameras to follow (Dream Fields, appendix; released code).

Notation: c = sum_i sigma_i x_i / sum_i sigma_i over the nodes x_i of an even lattice in the cube; m the memory;
o <- m o + (1 - m) c, from the middle of the scene on.
"""

import torch
from torch import Tensor

from dreamfields.scene.fields.base import AbstractField, lattice
from dreamfields.scene.settings import CameraSettings

CELLS = 32
"""Cells a side of the lattice: 36,000 queries, some hundredths of what one of the paper's steps asks for."""


@torch.no_grad()
def density_centre(field: AbstractField, cells: int = CELLS) -> Tensor:
    """Return the density-weighted centre c, (3,), in scene units, on the CPU; not a number where nothing is dense."""
    density = field.density_volume(cells).reshape(-1)
    points = lattice(cells, density.device).points
    centre: Tensor = (density.double() @ points.double()) / density.double().sum()
    return centre.cpu()


def follow(origin: Tensor, centre: Tensor, memory: float) -> Tensor:
    """Return the tracked centre after one more step, (3,); a centre that is not finite leaves it as it was."""
    return memory * origin + (1.0 - memory) * centre if bool(torch.isfinite(centre).all()) else origin


def looked_at(origin: Tensor, settings: CameraSettings, progress: float) -> tuple[float, float, float]:
    """Return the point that cameras look at after a share of the steps."""
    followed = settings.track == "on" or (settings.track == "delayed" and progress >= settings.track_from)
    x, y, z = origin.tolist() if followed else (0.0, 0.0, 0.0)
    return x, y, z
