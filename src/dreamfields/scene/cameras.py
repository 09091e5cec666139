"""Cameras on a sphere around the scene, the rays of their pixels, and the point that they look at.

Frames and units, stated once for the whole package:

* The world is right-handed with +Y up, as glTF has it. The scene is the cube [-1, 1]^3; its front faces +Z.
* Azimuth 0 looks at the front from +Z; azimuth 90 looks from +X. Elevation is the angle above the horizon.
* Angles are degrees in names that end in `_deg` and radians otherwise; distances are scene units.
* Images are (b, 3, h, w) in [0, 1]; row 0 is the top, column 0 the left, and pixel centres lie at +0.5.

Cameras may follow the centre of the density (Dream Fields, appendix; released code): c = sum_i sigma_i x_i / sum_i
sigma_i over the nodes x_i of an even lattice in the cube; o <- m o + (1 - m) c from o = 0 on, with m the memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dreamfields.scene.fields.base import AbstractField, lattice
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import CameraSettings

Point = tuple[float, float, float]  # In scene units


@dataclass(frozen=True)
class Camera:
    """A pinhole camera on a sphere around its target, which it looks at, with +Y up in the image."""

    azimuth_deg: float
    elevation_deg: float
    radius: float = 4.0
    fov_deg: float = 34.0  # Full vertical and horizontal field of view; images are square
    target: Point = (0.0, 0.0, 0.0)

    def position(self) -> Tensor:
        """Return the position (3,) in the world."""
        return torch.tensor(self.target, dtype=torch.float32) - self.radius * self.axes()[2]

    def axes(self) -> Tensor:
        """Return right, up and forward as the orthonormal rows of a (3, 3) matrix."""
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        sine, cosine = math.sin(azimuth), math.cos(azimuth)
        height, horizontal = math.sin(elevation), math.cos(elevation)
        right, up = (cosine, 0.0, -sine), (-height * sine, horizontal, -height * cosine)
        return torch.tensor([right, up, (-horizontal * sine, -height, -horizontal * cosine)])

    def rays(self, size: int) -> Rays:
        """Return the rays through the centres of size x size pixels, row by row from the top left: (size^2, 3) each."""
        return rays_of((self,), size)


def rays_of(cameras: Sequence[Camera], size: int) -> Rays:
    """Return the rays of several cameras one after another: (len(cameras) * size^2, 3) each.

    Where a cone crosses a plane that faces the camera, its radius is a pixel's side over sqrt(12) (released code).
    """
    pixels, squares = _pixels(size)
    extents = torch.tensor([math.tan(math.radians(camera.fov_deg) / 2.0) for camera in cameras])[:, None]
    axes = torch.stack([camera.axes() for camera in cameras])
    # Pixels lie on a plane one unit ahead; a slanted ray is longer up to it, so it widens less on each unit.
    nearness = torch.rsqrt(extents**2 * squares + 1.0)
    scales = torch.cat([extents, extents, torch.ones_like(extents)], dim=1)
    # One product for all cameras, with the pixels side by side: (v, 3, size^2).
    ahead = (scales[:, :, None] * axes).transpose(1, 2).reshape(-1, 3) @ pixels
    directions = (ahead.reshape(len(cameras), 3, -1) * nearness[:, None]).transpose(1, 2)
    targets = torch.tensor([camera.target for camera in cameras], dtype=torch.float32)
    distances = torch.tensor([[camera.radius] for camera in cameras], dtype=torch.float32)
    origins = (targets - distances * axes[:, 2])[:, None].expand_as(directions)
    radii = 2.0 * extents / size / math.sqrt(12.0) * nearness
    return Rays(origins.reshape(-1, 3), directions.reshape(-1, 3), radii.reshape(-1))


@lru_cache(maxsize=4)
def _pixels(size: int) -> tuple[Tensor, Tensor]:
    """Return x, y and 1 of the pixels' centres (3, size^2), x rightwards and y upwards in [-1, 1], and x^2 + y^2."""
    centres = (torch.arange(size, dtype=torch.float32) + 0.5) / size * 2.0 - 1.0
    y, x = (one.reshape(-1) for one in torch.meshgrid(-centres, centres, indexing="ij"))
    return torch.stack([x, y, torch.ones_like(x)]), x**2 + y**2


def sample_cameras(
    settings: CameraSettings, count: int, generator: torch.Generator, target: Point = (0.0, 0.0, 0.0)
) -> list[Camera]:
    """Draw cameras around a target uniformly from the settings' intervals (Dream Fields sec. 3.2).

    Azimuths are stratified, one camera in each of `count` equal parts, so that a step's views surround the object.
    """
    return [
        Camera(
            azimuth_deg=_within(settings.azimuth_deg, (index + azimuth) / count),
            elevation_deg=_within(settings.elevation_deg, elevation),
            radius=settings.radius,
            fov_deg=_within(settings.fov_deg, fov),
            target=target,
        )
        for index, (azimuth, elevation, fov) in enumerate(torch.rand((count, 3), generator=generator).tolist())
    ]


def turntable(
    count: int, elevation_deg: float = 20.0, fov_deg: float = 34.0, target: Point = (0.0, 0.0, 0.0)
) -> list[Camera]:
    """Return `count` cameras evenly around a target, starting at the front."""
    return [Camera(360.0 * index / count, elevation_deg, fov_deg=fov_deg, target=target) for index in range(count)]


@torch.no_grad()
def density_centre(field: AbstractField, cells: int = 32) -> Tensor:
    """Return the density-weighted centre c, (3,), in scene units, on the CPU; NaN without any density."""
    # 32 cells a side are 36,000 queries, about a hundredth of those of one of the paper's steps.
    density = field.density_volume(cells).reshape(-1)
    points = lattice(cells, density.device).points
    centre: Tensor = (density.double() @ points.double()) / density.double().sum()
    return centre.cpu()


def follow(origin: Tensor, centre: Tensor, memory: float) -> Tensor:
    """Return the tracked centre (3,) after one more step; a centre that is not finite does not change it."""
    return memory * origin + (1.0 - memory) * centre if bool(torch.isfinite(centre).all()) else origin


def camera_target(origin: Tensor, settings: CameraSettings, progress: float) -> Point:
    """Return the point that cameras look at after a fraction `progress` of the steps."""
    follows = settings.track == "on" or (settings.track == "delayed" and progress >= settings.track_from)
    x, y, z = origin.tolist() if follows else (0.0, 0.0, 0.0)
    return x, y, z


def _within(interval: tuple[float, float], fraction: float) -> float:
    return interval[0] + (interval[1] - interval[0]) * fraction
