"""Rays and where they meet the scene cube.

Notation: o (n, 3) origins and d (n, 3) unit directions in the world; t (n,) distances along a ray in scene units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfields.reprs import short_repr


@dataclass(frozen=True)
class Rays:
    """Half-lines o + t d."""

    origins: Tensor  # (n, 3) in scene units
    directions: Tensor  # (n, 3), unit length
    radii: Tensor  # (n,) growth of the cone's radius per scene unit along the ray; 0 for a ray without width

    __repr__ = short_repr

    def __len__(self) -> int:
        """Return the number of rays."""
        return self.origins.shape[0]

    def __getitem__(self, index: slice | Tensor) -> "Rays":
        """Return the chosen rays."""
        return Rays(self.origins[index], self.directions[index], self.radii[index])

    def to(self, device: torch.device) -> "Rays":
        """Return the rays on a device."""
        return Rays(self.origins.to(device), self.directions.to(device), self.radii.to(device))

    def at(self, distances: Tensor) -> Tensor:
        """Return the points (n, s, 3) at distances (n, s)."""
        return self.origins[:, None] + self.directions[:, None] * distances[..., None]


def intersect_box(rays: Rays, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances (n,), (n,) at which rays enter and leave the box between corners low (3,) and high (3,).

    The slab method. Where a ray misses, both are 0, so an integral over it is empty; a ray from inside enters at 0.
    """
    # A zero component would give 0 * inf; the smallest normal number gives slabs that are practically infinite.
    tiny = torch.finfo(rays.directions.dtype).tiny
    safe = torch.where(rays.directions.abs() < tiny, torch.full_like(rays.directions, tiny), rays.directions)
    first, second = (low - rays.origins) / safe, (high - rays.origins) / safe
    near = torch.minimum(first, second).amax(dim=-1).clamp(min=0.0)
    far = torch.maximum(first, second).amin(dim=-1)
    hit = far > near
    return torch.where(hit, near, torch.zeros_like(near)), torch.where(hit, far, torch.zeros_like(far))


def intersect_cube(rays: Rays, half_side: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return the distances (n,), (n,) at which rays enter and leave the cube [-half_side, half_side]^3."""
    corner = torch.full_like(rays.origins[0], half_side)
    return intersect_box(rays, -corner, corner)
