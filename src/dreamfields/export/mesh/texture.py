"""Textures: an image of a mesh's surface, each texel in the colour that cameras see in the field there."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dreamfields.export.mesh.colours import SurfaceView, projected_colours, surface_colours
from dreamfields.export.mesh.mesh import Atlas, Mesh, Texture, vertex_normals
from dreamfields.export.mesh.raster import cover
from dreamfields.export.mesh.unwrap import unwrap
from dreamfields.export.settings import ExportSettings
from dreamfields.scene.fields.base import AbstractField


def textured(mesh: Mesh, field: AbstractField, settings: ExportSettings, views: list[SurfaceView]) -> tuple[Mesh, str]:
    """Return a mesh with its texture, and why the texture is missing or laid out more simply, as a sentence or "".

    Raises DegenerateError: the field holds colours that are not finite.
    """
    if settings.texture_size == 0:
        return mesh, ""
    atlas, note = unwrap(mesh, settings.texture_size, settings.unwrap_seconds)
    texture = None if atlas is None else Texture(bake(mesh, atlas, field, settings, views), atlas)
    return replace(mesh, texture=texture), note


def bake(
    mesh: Mesh, atlas: Atlas, field: AbstractField, settings: ExportSettings, views: list[SurfaceView]
) -> NDArray[np.uint8]:
    """Return the image (s, s, 3) of a mesh's surface in the layout of an atlas, its gutters filled."""
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
    return dilated(image, coverage.mask)


def dilated(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Give each texel outside a mask (s, s) the nearest colour inside, so that filtering never samples a border."""
    if not mask.any():
        return image
    row, column = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    filled: NDArray[np.uint8] = image[row, column]
    return filled
