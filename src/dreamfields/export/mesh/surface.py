"""Extract a clean, closed surface from a density volume.

Notation: volume (n, n, n) densities on a lattice over the cube [-1, 1]^3, indexed [z, y, x]; h the lattice's spacing in
scene units; v vertices and f faces of a mesh, counter-clockwise seen from outside, as in glTF and STL.

Marching cubes runs on the opacity s = 1 - 2^(-sigma / level), which is 0.5 exactly where the density is the level and
stays in [0, 1] for any density. Density without bound would pull each vertex to the outermost node of its cell.
"""

from itertools import chain
from typing import Final

import fast_simplification
import numpy as np
import torch
import trimesh
from skimage.measure import marching_cubes

from dreamfields.errors import DegenerateError
from dreamfields.export.mesh.colours import surface_colours
from dreamfields.export.mesh.components import visible_components
from dreamfields.export.mesh.mesh import Floats, Integers, Mesh, compacted, signed_volumes, vertex_normals
from dreamfields.export.settings import ExportSettings
from dreamfields.scene.fields.base import AbstractField

FOG_DEPTH: Final = 0.25  # Scene units over which a surface is half opaque, unless all of the scene is thinner fog


def extract_mesh(field: AbstractField, settings: ExportSettings) -> Mesh:
    """Turn a field into a closed mesh with vertex colours, without floaters, within the budget of faces.

    Raises DegenerateError: the field is empty, full or not finite, so it has no surface.
    """
    with torch.no_grad():
        densities = field.density_volume(settings.mesh_cells).double().cpu().numpy()
    spacing = 2.0 / settings.mesh_cells
    if not np.isfinite(densities).all():
        raise DegenerateError("the field holds densities that are not finite; resume from an earlier checkpoint")
    level = surface_level(densities, spacing) if settings.level is None else settings.level
    vertices, faces = visible_components(*isosurface(densities, level))
    vertices, faces = simplify_manifold(vertices, faces, settings.max_faces)
    colours = surface_colours(field, vertices, vertex_normals(vertices, faces), spacing)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), colours)


def surface_level(volume: Floats, spacing: float) -> float:
    """Return the density whose isosurface has the silhouettes that best fit the opacity of a volume (n, n, n).

    A ray along a line of the lattice, in any of three directions, has an opacity O = 1 - exp(-h sum sigma) and a
    greatest density m. A mesh at level t is solid on rays with m >= t, so its silhouettes differ from the opacity by
    sum_{m >= t} (1 - O) + sum_{m < t} O. The level is the middle of the gap between densities m where this is least,
    but at least that of fog: a wide halo can be as opaque as an object. Raises DegenerateError: no ray is half opaque.
    """
    opacities = np.concatenate([-np.expm1(-spacing * volume.sum(axis=axis)).ravel() for axis in range(3)])
    densest = np.concatenate([volume.max(axis=axis).ravel() for axis in range(3)])
    order = np.argsort(-densest, kind="stable")
    # How much smaller the difference is than without a surface, when the first k rays of this order are solid.
    gains = np.cumsum(2.0 * opacities[order] - 1.0)
    # A level cannot separate rays of equal density.
    gains[:-1][densest[order[:-1]] == densest[order[1:]]] = -np.inf
    best = int(np.argmax(gains))
    if gains[best] <= 0.0:
        fault = f"nothing in the scene is half opaque and the densest point is {volume.max():.3g}"
        raise DegenerateError(f"no surface: {fault}; set a level below that or run more steps")
    outside = densest[order[best + 1]] if best + 1 < len(order) else 0.0
    silhouette = 0.5 * (densest[order[best]] + outside)
    fog_level = min(np.log(2.0) / FOG_DEPTH, 0.5 * float(volume.max()))
    return float(max(silhouette, fog_level))


def isosurface(volume: Floats, level: float) -> tuple[Floats, Integers]:
    """Return vertices (v, 3) and outward faces (f, 3) where a volume (n, n, n) crosses a level, closed at the cube.

    Raises DegenerateError: no density, or every density, is above the level.
    """
    if volume.max() <= level:
        fault = f"the densest point is {volume.max():.3g}; set a lower level or run more steps"
        raise DegenerateError(f"no surface at density {level:.3g}; {fault}")
    if volume.min() > level:
        fault = f"the scene is denser everywhere, at least {volume.min():.3g}; set a higher level or run more steps"
        raise DegenerateError(f"no surface at density {level:.3g}; {fault}")
    solid = -np.expm1(-np.log(2.0) * volume.transpose(2, 1, 0) / level)
    # A surface through a node has triangles without area, so values at nodes are kept off the level.
    solid = np.where(volume.transpose(2, 1, 0) > level, np.maximum(solid, 0.501), np.minimum(solid, 0.499))
    # A layer outside closes what the cube cuts; it is so far below the level that caps lie within 1 % of h of the cube.
    solid = np.pad(solid, 1, constant_values=-49.0)
    spacing = 2.0 / (volume.shape[0] - 1)
    vertices, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call]
        solid, 0.5, spacing=(spacing,) * 3, gradient_direction="ascent"
    )
    assert signed_volumes(vertices, faces).sum() > 0.0, "the surface is inside out"
    return vertices.astype(np.float64) - (1.0 + spacing), faces


def simplify_manifold(vertices: Floats, faces: Integers, max_faces: int) -> tuple[Floats, Integers]:
    """Return a mesh of about `max_faces` faces, two at each edge; a smaller one is returned unchanged.

    Edge collapse sometimes lets two parts of a surface touch along an edge, which slicing software then takes for a
    hole. Where those cannot be separated, slightly fewer faces are tried.
    """
    budgets = (round(fraction * max_faces) for fraction in (1.0, 0.97, 0.93, 0.88))
    attempts = (split_nonmanifold(*simplify(vertices, faces, budget)) for budget in budgets)
    first = next(attempts)
    return next((mesh for mesh in chain([first], attempts) if is_edge_manifold(mesh[1])), first)


def simplify(vertices: Floats, faces: Integers, max_faces: int) -> tuple[Floats, Integers]:
    """Return a closed mesh of about `max_faces` faces by quadric edge collapse.

    One that is smaller, or would lose half its volume, such as many tiny parts, is returned unchanged.
    """
    if len(faces) <= max_faces:
        return vertices, faces
    fewer_vertices, collapsed = fast_simplification.simplify(vertices, faces.astype(np.int32), target_count=max_faces)
    fewer_faces = drop_folded(collapsed)
    before, after = signed_volumes(vertices, faces).sum(), signed_volumes(fewer_vertices, fewer_faces).sum()
    return compacted(fewer_vertices, fewer_faces) if after > 0.5 * before else (vertices, faces)


def drop_folded(faces: Integers) -> Integers:
    """Drop pairs of faces (f, 3) with the same corners and opposite windings, which edge collapse leaves.

    They enclose nothing, and each edge loses as many faces of one direction as of the other: the mesh stays closed.
    """
    corners = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)[1].ravel()
    a, b, c = faces.T
    turned = (a < b) ^ (b < c) ^ (c < a)
    front, back = np.flatnonzero(~turned), np.flatnonzero(turned)
    _, one, other = np.intersect1d(corners[front], corners[back], return_indices=True)
    pairs = np.concatenate([front[one], back[other]])
    return drop_folded(np.delete(faces, pairs, axis=0)) if len(pairs) else faces


def split_nonmanifold(vertices: Floats, faces: Integers) -> tuple[Floats, Integers]:
    """Separate parts that touch: a vertex becomes one for each fan of faces around it, a small distance apart.

    Faces are of one fan where they share an edge of just two faces. Unchanged where that would open the surface.
    """
    if is_edge_manifold(faces):
        return vertices, faces
    # Directed edges as pairs of face corners, numbered from 0 to 3 f, the one at the lower vertex first.
    corners = np.arange(3 * len(faces)).reshape(-1, 3)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    corners = np.take_along_axis(corners, faces.ravel()[corners].argsort(axis=1), axis=1)
    edges = faces.ravel()[corners]
    # 1. At an edge of two faces, the two corners at each of its ends are of one fan.
    plain = _equal_pairs(edges)
    links = corners[plain].transpose(0, 2, 1).reshape(-1, 2)
    fans = _connected(links, 3 * len(faces))
    # 2. At any other edge, two corners of one fan at its lower end belong together at its upper end as well.
    crowded = np.setdiff1d(np.arange(len(edges)), plain)
    lower, upper = corners[crowded].T
    together = upper[_equal_pairs(np.column_stack([edges[crowded], fans[lower]]))]
    fans = _connected(np.concatenate([links, together]), 3 * len(faces))
    separate = fans.reshape(-1, 3)
    return (_moved_apart(vertices, faces, fans), separate) if is_edge_manifold(separate) else (vertices, faces)


def is_edge_manifold(faces: Integers) -> bool:
    """Tell whether each edge of faces (f, 3) joins just two of them, as a printable surface's does."""
    edges = trimesh.geometry.faces_to_edges(faces)  # type: ignore[no-untyped-call]
    return trimesh.graph.is_watertight(edges)[0]


def _equal_pairs(rows: Integers) -> Integers:
    """Return indices (m, 2) of the rows (n, k) that occur exactly twice."""
    pairs = trimesh.grouping.group_rows(rows, require_count=2)  # type: ignore[no-untyped-call]
    return np.asarray(pairs, np.int64).reshape(-1, 2)


def _connected(links: Integers, count: int) -> Integers:
    """Return the component (count,) of each node, numbered from 0, given links (m, 2) between nodes."""
    return np.asarray(trimesh.graph.connected_component_labels(links, count))  # type: ignore[no-untyped-call]


def _moved_apart(vertices: Floats, faces: Integers, fans: Integers) -> Floats:
    """Return the vertices of fans (3 f,): one that several fans share is moved a little towards the faces of each."""
    of_fan = np.zeros(fans.max() + 1, np.int64)
    of_fan[fans] = faces.ravel()
    positions = vertices[of_fan]
    centres = np.repeat(vertices[faces].mean(axis=1), 3, axis=0)
    sums = np.stack([np.bincount(fans, along) for along in centres.T], axis=1)
    towards = sums / np.bincount(fans)[:, None] - positions
    shared = np.bincount(of_fan, minlength=len(vertices))[of_fan] > 1
    moved: Floats = positions + np.where(shared[:, None], 0.02 * towards, 0.0)
    return moved
