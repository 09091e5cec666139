"""A coarse object, without detail and sharp edges, and a voxel field that begins as one.

Notation: p in [0, 1] the occupancy on an even lattice of n nodes a side; s the density's pre-activation, of which the
density is a softplus; f_l the grids of `fields.voxels` with n_l cells a side.
"""

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.reprs import short_repr
from dreamfields.scene.colour import decorrelated_from_rgb
from dreamfields.scene.fields.base import lattice
from dreamfields.scene.fields.voxels import VoxelField, blob, interpolate

FINEST_CELLS: Final = 32  # Cells a side of the finest grid that is written into; detail is the guidance's to add
INSIDE: Final = 3.0  # Pre-activation where p is 1
OUTSIDE: Final = -6.0  # Pre-activation at most where it is 0
_SHADES: Final = (0.02, 0.98)  # Colours that a sigmoid reaches


@final
@dataclass(frozen=True)
class CoarseObject:
    """A shape with colours on the nodes of an even lattice over the box that it fits, a cube: indexed [z, y, x]."""

    occupancy: Tensor  # (n, n, n) in [0, 1]
    colours: Tensor  # (n, n, n, 3) sRGB in [0, 1]

    __repr__ = short_repr

    def occupancy_at(self, points: Tensor, extent: float) -> Tensor:
        """Return the occupancy at points (m, 3) of the scene, (m,); the cube's half side there is `extent`."""
        inside = (points.abs() <= extent).all(dim=-1)
        return interpolate(self.occupancy[None], points / extent)[:, 0] * inside

    def colours_at(self, points: Tensor, extent: float) -> Tensor:
        """Return the colours at points (m, 3) of the scene, (m, 3); beyond the cube those of its nearest face."""
        return interpolate(self.colours.permute(3, 0, 1, 2), points / extent)


def shadow(coarse: CoarseObject) -> float:
    """Return the mean over the three axes of the fraction of its cube's face that an object covers, in [0, 1]."""
    solid = coarse.occupancy > 0.5
    return sum(float(solid.any(dim=axis).float().mean()) for axis in range(3)) / 3.0


@torch.no_grad()
def write_into(field: VoxelField, start: CoarseObject, extent: float) -> None:
    """Make a new voxel field a coarse object with the half side `extent` in (0, 1]: its coarser grids are filled.

    At their nodes s is `INSIDE` p + (1 - p) min(s_0, `OUTSIDE`), with s_0 the blob that an empty field is.
    """
    settings, grids = field.settings, field.levels()
    written = [grid for grid in grids if grid.shape[-1] <= FINEST_CELLS + 1] or grids[:1]
    cells = written[-1].shape[-1] - 1
    points = lattice(cells, written[-1].device).points
    occupancy, empty = start.occupancy_at(points, extent), blob(points, settings)
    wanted = INSIDE * occupancy + (1.0 - occupancy) * empty.clamp(max=OUTSIDE)
    density = (wanted - empty) / settings.density_gain
    colour = decorrelated_from_rgb(torch.logit(start.colours_at(points, extent).clamp(*_SHADES)))
    values = torch.cat([density[:, None], colour / settings.colour_gain], dim=-1)
    volume = values.T.reshape(-1, cells + 1, cells + 1, cells + 1)
    for grid, part in zip(written, pyramid(volume, len(written), settings.level_scale), strict=True):
        grid.copy_(part)


def pyramid(values: Tensor, levels: int, level_scale: float) -> list[Tensor]:
    """Return grids whose weighted sum, `voxels.sum_levels`, is the values (c, n+1, n+1, n+1) on the finest nodes.

    Each grid has half the cells of the next one, and holds what the coarser ones lack of the blurred values there.
    """
    coarser = [values]
    for _ in range(levels - 1):
        coarser.insert(0, halved(coarser[0]))
    grids, total = [coarser[0]], coarser[0]
    for level, wanted in enumerate(coarser[1:], start=1):
        size = list(wanted.shape[1:])
        total = functional.interpolate(total[None], size=size, mode="trilinear", align_corners=True)[0]
        grids.append((wanted - total) / level_scale**level)
        total = wanted
    return grids


def halved(values: Tensor) -> Tensor:
    """Return values (c, n+1, n+1, n+1) on every second node, each the mean around it; see `blurred`."""
    return blurred(values)[:, ::2, ::2, ::2]


def blurred(values: Tensor) -> Tensor:
    """Return the means around the nodes of values (c, n, n, n) by weights 1/4, 1/2, 1/4 along each axis."""
    kernel = values.new_tensor([0.25, 0.5, 0.25])
    for axis in (1, 2, 3):
        first, last = values.narrow(axis, 0, 1), values.narrow(axis, values.shape[axis] - 1, 1)
        padded, count = torch.cat([first, values, last], dim=axis), values.shape[axis]
        parts = (weight * padded.narrow(axis, offset, count) for offset, weight in enumerate(kernel))
        values = torch.stack(list(parts)).sum(dim=0)
    return values


def missing_density(density: Tensor, inside: Tensor, thickness: float) -> Tensor:
    """Return the mean transmittance exp(-sigma h), (), of pieces of the thickness h, weighted by `inside`.

    `density` and `inside` are of the same shape; it is 1 where the object is missing and 0 where it is opaque, so it
    asks for no more than opaque (PureCLIPNeRF's term with a bound).
    """
    return (inside * torch.exp(-density * thickness)).sum() / inside.sum().clamp(min=1e-6)
