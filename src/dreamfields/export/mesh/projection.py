"""Colours as cameras see them: what renderings of the field show of each spot of a mesh.

A field's edge is soft, so a ray along the normal and one at a slant gather other colours. The mean over views, weighed
by how squarely each looks at the spot, is the texture that brings renderings of the mesh nearest to the field's.

Notation: n points x on the surface with unit normals; per camera a (visible) weight a of each, and what it sees there.
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

PRIOR: Final = 0.2
"""How much the colour along the normal counts, in views that look at the spot squarely."""


@dataclass(frozen=True)
class Look:
    """What a camera sees of a field and of its mesh."""

    camera: Camera
    field: Rendering
    mesh: Coverage
    ahead: NDArray[np.float32]
    """(size, size) how far ahead of the camera the mesh's surface is; infinite where there is none."""


def look(mesh: Mesh, field: AbstractField, camera: Camera, size: int, samples: int, occupancy: Tensor | None) -> Look:
    """Look at a field and its mesh from one side."""
    rendering = render_still(field, camera, size, samples, occupancy=occupancy)
    coverage = cover_view(mesh.vertices, mesh.faces, camera, size)
    ahead = np.full((size, size), np.inf, np.float32)
    _, distances = project(mesh.vertices, camera, size)
    ahead[coverage.mask] = coverage.interpolate(distances[:, None], mesh.faces)[:, 0]
    return Look(camera, rendering, coverage, ahead)


def seen_colours(
    along_normal: NDArray[np.uint8], points: Floats, normals: Floats, looks: Sequence[Look], tolerance: float
) -> NDArray[np.uint8]:
    """Return sRGB colours (n, 3) of surface points (n, 3) from their colours along the normal and from looks.

    Args:
        along_normal: (n, 3) sRGB, which fills in where no camera looks.
        points: (n, 3) in scene units.
        normals: (n, 3) outward, unit length.
        looks: what is seen of them.
        tolerance: how far behind the mesh's nearest surface a point still counts as seen, in scene units.
    """
    colours = torch.from_numpy(along_normal).float() * (PRIOR / 255.0)
    weights = torch.full((len(points), 1), PRIOR)
    for one in looks:
        towards = one.camera.position().numpy() - points
        squarely = (towards * normals).sum(axis=1) / np.linalg.norm(towards, axis=1)
        (facing,) = np.nonzero(squarely > 0.1)
        where, ahead = project(points[facing], one.camera, len(one.ahead))
        column, row = np.clip(where.astype(np.int64), 0, len(one.ahead) - 1).T
        visible = ahead <= one.ahead[row, column] + tolerance
        facing, where = facing[visible], where[visible]
        values = _bilinear(one.field, where) * torch.from_numpy(squarely[facing, None] ** 2).float()
        index = torch.from_numpy(facing)
        colours.index_add_(0, index, values[:, :3])
        weights.index_add_(0, index, values[:, 3:])
    return (colours / weights * 255.0).clamp(0.0, 255.0).round().to(torch.uint8).numpy()


def _bilinear(rendering: Rendering, where: Floats) -> Tensor:
    """Return premultiplied colour and opacity (n, 4) at places (n, 2) in pixels."""
    picture = torch.cat([rendering.colour, rendering.opacity], dim=1).cpu()
    places = torch.from_numpy(where).float() * (2.0 / picture.shape[-1]) - 1.0
    sampled = functional.grid_sample(picture, places[None, None], padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T
