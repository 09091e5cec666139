"""Textures: a picture of a mesh's surface, each texel coloured as its spot on the surface is seen in the field."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from dreamfields.export.mesh.colours import surface_colours
from dreamfields.export.mesh.mesh import Mesh, Texture, vertex_normals
from dreamfields.export.mesh.projection import Look, seen_colours
from dreamfields.export.mesh.raster import cover
from dreamfields.export.mesh.unwrap import Atlas, unwrap
from dreamfields.export.settings import ExportSettings
from dreamfields.scene.fields.base import AbstractField


def textured(mesh: Mesh, field: AbstractField, settings: ExportSettings, looks: list[Look]) -> tuple[Mesh, str]:
    """Return a mesh with a texture, and a sentence that is empty unless the texture is less than it should be.

    Raises:
        DegenerateError: the field holds colours that are not finite.
    """
    if settings.texture_size == 0:
        return mesh, ""
    atlas = unwrap(mesh, settings.texture_size, settings.unwrap_seconds)
    if isinstance(atlas, str):
        return mesh, atlas
    image = bake(mesh, atlas, field, settings, looks)
    return replace(mesh, texture=Texture(image, atlas.uv, atlas.vertices, atlas.faces)), atlas.note


def bake(
    mesh: Mesh, atlas: Atlas, field: AbstractField, settings: ExportSettings, looks: list[Look]
) -> NDArray[np.uint8]:
    """Return the picture (s, s, 3) of a mesh's surface in the layout of an atlas, its gutters filled."""
    size = settings.texture_size
    # 1. Which spot of the surface is each texel?
    texels = atlas.uv * [size, -size] + [0.0, size]
    coverage = cover(texels[atlas.faces], size)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    spots = np.concatenate([mesh.vertices, normals], axis=1)[atlas.vertices]
    found = coverage.interpolate(spots.astype(np.float32), atlas.faces)
    points, directions = found[:, :3], found[:, 3:]
    directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-6)
    # 2. What colour has it?
    device = next(field.parameters()).device
    colours = surface_colours(field, _tensor(points, device), _tensor(directions, device), 2.0 / settings.mesh_cells)
    if looks:
        colours = seen_colours(colours, points, directions, looks, 2.0 / settings.mesh_cells)
    image = np.zeros((size, size, 3), np.uint8)
    image[coverage.mask] = colours
    return dilated(image, coverage.mask)


def dilated(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Give each texel outside a mask (s, s) the colour of the nearest inside, so that no sampling finds a border."""
    if not mask.any():
        return image
    row, column = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    filled: NDArray[np.uint8] = image[row, column]
    return filled


def _tensor(values: NDArray[np.floating], device: torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=device)
