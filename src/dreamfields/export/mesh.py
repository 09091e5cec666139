"""From a density volume to a clean, closed, coloured surface.

Notation: volume (n, n, n) densities on a lattice over the cube [-1, 1]^3, indexed [z, y, x]; h the lattice's spacing in
scene units; v vertices and f faces of a mesh. Faces are counter-clockwise seen from outside, as glTF and STL want them.

The surface is looked for in opacity, not density: s = 1 - 2^(-sigma / level) is 0.5 exactly where the density is the
level, and stays in [0, 1] for densities that grow without bound inside an object, which would otherwise pull every
vertex to the outermost node of its cell.
"""

from dataclasses import dataclass
from typing import Any, Final

import fast_simplification
import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from skimage.measure import marching_cubes
from torch import Tensor

from dreamfields.errors import DegenerateError
from dreamfields.export.settings import ExportSettings
from dreamfields.render import volume as equations
from dreamfields.scene.fields.base import AbstractField, Evaluator, Query

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

KEPT_SHARE: Final = 0.05
"""Parts below this share of the largest part's volume are dropped as floaters: fog that happened to pass the level."""

HAZE_DEPTH: Final = 0.25
"""Length in scene units: what is not half opaque over it is haze, which a mesh cannot show, unless all is as thin."""

COLOUR_STEPS: Final = 6
"""Samples below the surface, half a cell apart, that make up a vertex's colour: three cells hide what lies deeper."""


@dataclass(frozen=True)
class Mesh:
    """A closed triangle mesh in the world's frame: +Y up, front towards +Z."""

    vertices: NDArray[np.float32]
    """(v, 3) in scene units."""
    faces: NDArray[np.int32]
    """(f, 3) indices of vertices, counter-clockwise seen from outside."""
    colours: NDArray[np.uint8]
    """(v, 3) sRGB."""


def extract_mesh(field: AbstractField, settings: ExportSettings) -> Mesh:
    """Turn a field into a closed mesh with vertex colours, without floaters, within the budget of faces.

    Raises:
        DegenerateError: the field is empty, full or not finite, so there is no surface to take.
    """
    # 1. Ask the field everywhere, once.
    with torch.no_grad():
        volume = field.density_volume(settings.mesh_cells)
    densities = volume.double().cpu().numpy()
    spacing = 2.0 / settings.mesh_cells
    if not np.isfinite(densities).all():
        raise DegenerateError("the field holds densities that are not finite; resume from an earlier checkpoint")

    # 2. Find the surface.
    level = surface_level(densities, spacing) if settings.level is None else settings.level
    vertices, faces = isosurface(densities, level)

    # 3. Clean it.
    vertices, faces = without_floaters(vertices, faces)
    vertices, faces = simplified(vertices, faces, settings.max_faces)

    # 4. Colour it as a ray that looks straight down at it would see it.
    points = torch.as_tensor(vertices, dtype=torch.float32, device=volume.device)
    normals = torch.as_tensor(vertex_normals(vertices, faces), dtype=torch.float32, device=volume.device)
    colours = surface_colours(field, points, normals, spacing)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), colours)


def surface_level(volume: Floats, spacing: float) -> float:
    """Return the density whose isosurface has the silhouettes that best fit what is seen of a volume (n, n, n).

    Along each line of the lattice, in all three directions, a ray has an opacity O = 1 - exp(-h sum sigma) and a
    densest node m. A mesh at level t shows that ray as solid where m >= t, so its silhouettes miss the rendered opacity
    by sum_{m >= t} (1 - O) + sum_{m < t} O. The level is the middle of the gap of densities m where this is least, but
    at least the density of haze: a wide halo of fog can be as opaque as an object and is still no surface.

    Raises:
        DegenerateError: no level fits better than no surface at all, for nothing is half opaque.
    """
    opacities = np.concatenate([-np.expm1(-spacing * volume.sum(axis=axis)).ravel() for axis in range(3)])
    densest = np.concatenate([volume.max(axis=axis).ravel() for axis in range(3)])
    order = np.argsort(-densest, kind="stable")
    # What the misfit falls by, from that of no surface, as rays become solid from the densest on.
    gains = np.cumsum(2.0 * opacities[order] - 1.0)
    # A level cannot part rays that are equally dense.
    gains[:-1][densest[order[:-1]] == densest[order[1:]]] = -np.inf
    best = int(np.argmax(gains))
    if gains[best] <= 0.0:
        raise DegenerateError(
            f"no surface: nothing in the scene is half opaque and the densest point is {volume.max():.3g}; "
            "set a level below that or run more steps"
        )
    outside = densest[order[best + 1]] if best + 1 < len(order) else 0.0
    silhouette = 0.5 * (densest[order[best]] + outside)
    haze = min(np.log(2.0) / HAZE_DEPTH, 0.5 * float(volume.max()))
    return float(max(silhouette, haze))


def isosurface(volume: Floats, level: float) -> tuple[Floats, Integers]:
    """Return vertices (v, 3) and outward faces (f, 3) of the surface where a volume (n, n, n) crosses a level.

    Objects that the cube cuts are closed on its faces.

    Raises:
        DegenerateError: no density, or every density, is above the level.
    """
    if volume.max() <= level:
        raise DegenerateError(
            f"no surface at density {level:.3g}; the densest point is {volume.max():.3g}; "
            "set a lower level or run more steps"
        )
    if volume.min() > level:
        raise DegenerateError(
            f"no surface at density {level:.3g}; the scene is denser everywhere, at least {volume.min():.3g}; "
            "set a higher level or run more steps"
        )
    solid = -np.expm1(-np.log(2.0) * volume.transpose(2, 1, 0) / level)
    # A surface through a node makes triangles without area; it passes a thousandth of a cell beside it instead.
    solid = np.where(volume.transpose(2, 1, 0) > level, np.maximum(solid, 0.501), np.minimum(solid, 0.499))
    # One layer outside the cube closes what the cube cuts; so far below the level that caps rise by less than 1 % of h.
    solid = np.pad(solid, 1, constant_values=-49.0)
    spacing = 2.0 / (volume.shape[0] - 1)
    vertices, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call]
        solid, 0.5, spacing=(spacing,) * 3, gradient_direction="ascent"
    )
    assert signed_volumes(vertices, faces).sum() > 0.0, "the surface is inside out"
    return vertices.astype(np.float64) - (1.0 + spacing), faces


def without_floaters(vertices: Floats, faces: Integers) -> tuple[Floats, Integers]:
    """Keep the largest connected part and those of at least `KEPT_SHARE` of its volume.

    The wall of a closed cavity is a part of negative volume and goes too: nobody can see it, and a field is often
    hollow where no ray reached.
    """
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)  # two of a face's three edges join its corners
    labels = trimesh.graph.connected_component_labels(edges, len(vertices))  # type: ignore[no-untyped-call]
    of_faces = labels[faces[:, 0]]
    sizes = np.bincount(of_faces, weights=signed_volumes(vertices, faces))
    return _used(vertices, faces[(sizes >= KEPT_SHARE * sizes.max())[of_faces]])


def simplified(vertices: Floats, faces: Integers, max_faces: int) -> tuple[Floats, Integers]:
    """Return a mesh of about `max_faces` faces by quadric edge collapse; smaller ones come back unchanged.

    A closed mesh stays closed. One that would lose half its volume, such as a heap of specks, comes back unchanged too:
    better a large file than an empty one.
    """
    if len(faces) <= max_faces:
        return vertices, faces
    fewer_vertices, collapsed = fast_simplification.simplify(vertices, faces.astype(np.int32), target_count=max_faces)
    fewer_faces = without_folds(collapsed)
    before, after = signed_volumes(vertices, faces).sum(), signed_volumes(fewer_vertices, fewer_faces).sum()
    return _used(fewer_vertices, fewer_faces) if after > 0.5 * before else (vertices, faces)


def without_folds(faces: Integers) -> Integers:
    """Cancel pairs of faces (f, 3) with the same corners and opposite windings, the fins that edge collapse leaves.

    A fin is seen from both sides but encloses nothing. As both its faces go, each edge keeps as many faces in one
    direction as in the other, so what was closed stays closed.
    """
    corners = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)[1].ravel()
    a, b, c = faces.T
    turned = (a < b) ^ (b < c) ^ (c < a)
    front, back = np.flatnonzero(~turned), np.flatnonzero(turned)
    _, one, other = np.intersect1d(corners[front], corners[back], return_indices=True)
    if len(one) == 0:
        return faces
    return without_folds(np.delete(faces, np.concatenate([front[one], back[other]]), axis=0))


def surface_colours(field: AbstractField, points: Tensor, normals: Tensor, spacing: float) -> NDArray[np.uint8]:
    """Return sRGB colours (v, 3) of surface points (v, 3) with outward unit normals (v, 3).

    Raises:
        DegenerateError: a colour is not finite.
    """
    at_once = 16_384  # bounds the memory of a field that is a network
    with torch.no_grad():
        evaluator = field.evaluator()
        parts = [
            _colours_below(evaluator, points[start : start + at_once], normals[start : start + at_once], spacing)
            for start in range(0, len(points), at_once)
        ]
    colours = torch.cat(parts)
    if not torch.isfinite(colours).all():
        raise DegenerateError("the field holds colours that are not finite; resume from an earlier checkpoint")
    return (colours.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()


def vertex_normals(vertices: Floats, faces: Integers) -> Floats:
    """Return outward unit normals (v, 3), the mean of each vertex's faces weighted by area; +Y where that is zero."""
    corners = vertices[faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.stack(
        [np.bincount(faces.ravel(), np.repeat(areas[:, axis], 3), minlength=len(vertices)) for axis in range(3)], axis=1
    )
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # glTF wants unit normals even of a vertex whose faces cancel.
    return np.where(lengths > 0.0, sums / np.where(lengths > 0.0, lengths, 1.0), np.array([0.0, 1.0, 0.0]))


def signed_volumes(vertices: Floats, faces: Integers) -> Floats:
    """Return the volume (f,) of the tetrahedron each face spans with the origin; a closed mesh's sum is its volume."""
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    volumes: Floats = (a * np.cross(b, c)).sum(axis=1) / 6.0
    return volumes


def _used(vertices: Floats, faces: Integers) -> tuple[Floats, Integers]:
    """Return only the vertices that faces use, and the faces renumbered."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3)


def _colours_below(evaluator: Evaluator, points: Tensor, normals: Tensor, spacing: float) -> Tensor:
    """Return the colours (v, 3) that rays into the surface gather over their first `COLOUR_STEPS` half cells."""
    step = 0.5 * spacing
    depths = step * (torch.arange(COLOUR_STEPS, device=points.device) + 0.5)
    below = (points[:, None] - depths[:, None] * normals[:, None]).clamp(-1.0, 1.0)
    directions = (-normals[:, None]).expand_as(below)
    lengths = torch.full(below.shape[:2], step, device=points.device)
    # As wide as long: what a field with a sense of scale shows of half a cell, from whatever side.
    flat = lengths.reshape(-1)
    values = evaluator(Query(below.reshape(-1, 3), directions.reshape(-1, 3), lengths=flat, radii=flat))
    # A trace of every sample, for spikes so thin that the ray finds nothing below them.
    weights = equations.weights_from_density(values.density.reshape(lengths.shape), lengths) + 1e-6
    colours = equations.colour_from_weights(weights, values.colour.reshape(*lengths.shape, 3))
    # The share of light that passes all samples is given to them in proportion, or thin parts would turn dark.
    return colours / equations.opacity_from_weights(weights)[:, None]
