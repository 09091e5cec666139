"""Project renderings of the field onto the mesh: the colour of a surface point as cameras see it.

A field's edge is soft, so rays along the normal and at a slant gather different colours. The mean over views, weighted
by how squarely each faces the surface, is the texture that brings renderings of the mesh nearest to the field's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dreamfields.export.mesh.mesh import Floats, Mesh
from dreamfields.export.mesh.raster import Coverage, cover_view, project
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField

PRIOR_WEIGHT: Final = 0.2  # Weight of the colour along the normal; a view that faces the surface squarely has 1


@dataclass(frozen=True)
class SurfaceView:
    """A field and its mesh rendered from one camera."""

    camera: Camera
    rendering: Rendering  # The field
    coverage: Coverage  # The mesh
    depths: NDArray[np.float32]
    """(size, size) depth of the mesh's surface along the viewing direction; infinite where there is none."""


def render_surface_view(
    mesh: Mesh, field: AbstractField, camera: Camera, size: int, samples: int, occupancy: Tensor | None
) -> SurfaceView:
    """Render a field and its mesh in size x size pixels, with so many samples a ray of the field."""
    rendering = render_still(field, camera, size, samples, occupancy=occupancy)
    coverage = cover_view(mesh.vertices, mesh.faces, camera, size)
    depths = np.full((size, size), np.inf, np.float32)
    depths[coverage.mask] = coverage.interpolate(project(mesh.vertices, camera, size)[1][:, None], mesh.faces)[:, 0]
    return SurfaceView(camera, rendering, coverage, depths)


def projected_colours(
    along_normal: NDArray[np.uint8], points: Floats, normals: Floats, views: Sequence[SurfaceView], tolerance: float
) -> NDArray[np.uint8]:
    """Return sRGB colours (n, 3) of surface points (n, 3) with unit normals (n, 3), the weighted mean of all views.

    `along_normal` (n, 3) stays where no camera sees the point. A point is visible if it is at most `tolerance` scene
    units behind the mesh's nearest surface.
    """
    colours = torch.from_numpy(along_normal).float() * (PRIOR_WEIGHT / 255.0)
    weights = torch.full((len(points), 1), PRIOR_WEIGHT)
    for view in views:
        towards = view.camera.position().numpy() - points
        cosine = (towards * normals).sum(axis=1) / np.linalg.norm(towards, axis=1)
        (facing,) = np.nonzero(cosine > 0.1)
        positions, depths = project(points[facing], view.camera, len(view.depths))
        column, row = np.clip(positions.astype(np.int64), 0, len(view.depths) - 1).T
        visible = depths <= view.depths[row, column] + tolerance
        facing, positions = facing[visible], positions[visible]
        values = _bilinear(view.rendering, positions) * torch.from_numpy(cosine[facing, None] ** 2).float()
        index = torch.from_numpy(facing)
        colours.index_add_(0, index, values[:, :3])
        weights.index_add_(0, index, values[:, 3:])
    return (colours / weights * 255.0).clamp(0.0, 255.0).round().to(torch.uint8).numpy()


def _bilinear(rendering: Rendering, positions: Floats) -> Tensor:
    """Return premultiplied colour and opacity (n, 4) at positions (n, 2) in pixels."""
    image = torch.cat([rendering.colour, rendering.opacity], dim=1).cpu()
    grid = torch.from_numpy(positions).float() * (2.0 / image.shape[-1]) - 1.0
    sampled = functional.grid_sample(image, grid[None, None], padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T
