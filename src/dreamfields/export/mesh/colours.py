"""The colours of a surface: of points, by a ray along the inward normal and from cameras, and of a texture's texels.

A field's edge is soft, so rays along the normal and at a slant gather different colours. The mean over views, weighted
by how squarely each faces the surface, is the texture that brings renderings of the mesh nearest to the field's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dreamfields.errors import DegenerateError
from dreamfields.export.mesh.mesh import Atlas, Floats, Mesh, Texture, vertex_normals
from dreamfields.export.mesh.raster import Coverage, cover, cover_view, project
from dreamfields.export.mesh.unwrap import unwrap
from dreamfields.export.settings import ExportSettings
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.render.volume import colour_from_weights, opacity_from_weights, weights_from_density
from dreamfields.reprs import short_repr
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField, Evaluator, Query

COLOUR_STEPS: Final = 6  # Samples below the surface, half a cell apart: three cells hide what lies deeper
PRIOR_WEIGHT: Final = 0.2  # Weight of the colour along the normal; a view that faces the surface squarely has 1


@dataclass(frozen=True)
class SurfaceView:
    """A field and its mesh rendered from one camera."""

    camera: Camera
    rendering: Rendering  # The field
    coverage: Coverage  # The mesh
    depths: NDArray[np.float32]  # (size, size) of the mesh along the viewing direction; infinite where there is none

    __repr__ = short_repr


def surface_colours(field: AbstractField, points: Floats, normals: Floats, spacing: float) -> NDArray[np.uint8]:
    """Return the sRGB (v, 3) of surface points (v, 3) with outward unit normals (v, 3); `spacing` is a cell's side.

    Raises DegenerateError: a colour is not finite.
    """
    device = next(field.parameters()).device
    rays = torch.as_tensor(np.concatenate([points, normals], axis=1), dtype=torch.float32, device=device)
    with torch.no_grad():
        evaluator = field.evaluator()
        batches = rays.split(16_384)  # bounds the memory of a field that is a network
        colours = torch.cat([_colours_below(evaluator, batch[:, :3], batch[:, 3:], spacing) for batch in batches])
    if not torch.isfinite(colours).all():
        raise DegenerateError("the field holds colours that are not finite; resume from an earlier checkpoint")
    return (colours.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()


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
        image = torch.cat([view.rendering.colour, view.rendering.opacity], dim=1).cpu()
        grid = torch.from_numpy(positions).float() * (2.0 / image.shape[-1]) - 1.0
        sampled = functional.grid_sample(image, grid[None, None], padding_mode="border", align_corners=False)
        values = sampled[0, :, 0].T * torch.from_numpy(cosine[facing, None] ** 2).float()  # premultiplied, and opacity
        index = torch.from_numpy(facing)
        colours.index_add_(0, index, values[:, :3])
        weights.index_add_(0, index, values[:, 3:])
    return (colours / weights * 255.0).clamp(0.0, 255.0).round().to(torch.uint8).numpy()


def textured(mesh: Mesh, field: AbstractField, settings: ExportSettings, views: list[SurfaceView]) -> tuple[Mesh, str]:
    """Return a mesh with its texture, and why the texture is missing or laid out more simply, as a sentence or "".

    Raises DegenerateError: the field holds colours that are not finite.
    """
    if settings.texture_size == 0:
        return mesh, ""
    atlas, note = unwrap(mesh, settings.texture_size, settings.unwrap_seconds)
    return mesh if atlas is None else replace(mesh, texture=bake(mesh, atlas, field, settings, views)), note


def bake(mesh: Mesh, atlas: Atlas, field: AbstractField, settings: ExportSettings, views: list[SurfaceView]) -> Texture:
    """Colour the texels of a mesh in the layout of an atlas, and those between its charts like the nearest."""
    size, spacing = settings.texture_size, 2.0 / settings.mesh_cells
    # 1. Find the surface point of each texel.
    texels = atlas.uv * [size, -size] + [0.0, size]
    coverage = cover(texels[atlas.faces], size)
    corners = np.concatenate([mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)], axis=1)[atlas.vertices]
    points, normals = np.hsplit(coverage.interpolate(corners.astype(np.float32), atlas.faces), 2)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    # 2. Colour it.
    colours = surface_colours(field, points, normals, spacing)
    if views:
        colours = projected_colours(colours, points, normals, views, spacing)
    image = np.zeros((size, size, 3), np.uint8)
    image[coverage.mask] = colours
    return Texture(dilated(image, coverage.mask), atlas)


def dilated(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Give each texel outside a mask (s, s) the nearest colour inside, so that filtering never samples a border."""
    if not mask.any():
        return image
    row, column = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    filled: NDArray[np.uint8] = image[row, column]
    return filled


def _colours_below(evaluator: Evaluator, points: Tensor, normals: Tensor, spacing: float) -> Tensor:
    """Return the colours (v, 3) that rays into the surface gather over their first `COLOUR_STEPS` half cells."""
    step = 0.5 * spacing
    depths = step * (torch.arange(COLOUR_STEPS, device=points.device) + 0.5)
    below = (points[:, None] - depths[:, None] * normals[:, None]).clamp(-1.0, 1.0)
    directions = (-normals[:, None]).expand_as(below)
    lengths = torch.full(below.shape[:2], step, device=points.device)
    flat = lengths.reshape(-1)  # also the samples' radii, so that anti-aliasing is alike from any side
    values = evaluator(Query(below.reshape(-1, 3), directions.reshape(-1, 3), lengths=flat, radii=flat))
    # No weight is 0, for spikes so thin that the ray finds no density below them.
    weights = weights_from_density(values.density.reshape(lengths.shape), lengths) + 1e-6
    colours = colour_from_weights(weights, values.colour.reshape(*lengths.shape, 3))
    return colours / opacity_from_weights(weights)[:, None]  # or thin parts would be dark
