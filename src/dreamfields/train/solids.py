"""Solid voxels of coloured surfaces, as a library of shapes holds them.

A surface is sampled into a fine lattice, and filled: a node is solid if the surface lies before and behind it along
each of the three axes. So a closed shell is solid, whichever way its faces wind, and an open box is hollow. Lattices
are indexed [z, y, x] over the cube [-1, 1]^3, which a model just fits.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dreamfields.export.mesh.mesh import face_areas
from dreamfields.reprs import short_repr
from dreamfields.train.renders import Floats, Model

FINE: Final = 33  # Nodes a side of the lattice that surfaces are sampled into; overlaps are measured on it
COARSE: Final = 5  # Nodes a side of the lattice of colours: of parts, not of details
_SAMPLES: Final = 60_000  # Points of a surface; ten a node of the largest that fits
_SPREAD: Final = 3 * (COARSE - 1)  # Steps in which colours of the surface reach the farthest corner of their lattice


@dataclass(frozen=True)
class Solid:
    """A model as voxels."""

    filled: NDArray[np.bool_]  # (f, f, f), f = `FINE`
    colours: Floats  # (c, c, c, 3) sRGB in [0, 1], c = `COARSE`; away from the surface those of the surface nearby

    __repr__ = short_repr


def turned(model: Model, front_deg: float) -> Model:
    """Return a model whose front, seen from the azimuth `front_deg`, is seen from 0."""
    sine, cosine = math.sin(math.radians(front_deg)), math.cos(math.radians(front_deg))
    rotation = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])
    return Model(model.vertices @ rotation.T, model.faces, model.colours)


def solid(model: Model, draws: np.random.Generator) -> Solid:
    """Return the voxels of a model, sampled at random points of its surface."""
    points, colours = surface_samples(model, draws)
    nodes = np.clip(np.rint((points + 1.0) * (0.5 * (FINE - 1))), 0, FINE - 1).astype(np.int64)
    counts = _summed(nodes, np.ones((len(nodes), 1)), FINE)[..., 0]
    tint = _summed((nodes * COARSE) // FINE, np.concatenate([colours, np.ones((len(colours), 1))], axis=1), COARSE)
    return Solid(filled(counts > 0), spread(tint[..., :3], tint[..., 3]))


def surface_samples(model: Model, draws: np.random.Generator) -> tuple[Floats, Floats]:
    """Return points (p, 3) of the surface, evenly drawn and with all vertices, and their colours (p, 3)."""
    areas = np.linalg.norm(face_areas(model.vertices, model.faces), axis=1)
    chances = areas / areas.sum() if areas.sum() > 0.0 else np.full(len(areas), 1.0 / len(areas))
    faces = model.faces[draws.choice(len(chances), _SAMPLES, p=chances)]
    # Folded, two even numbers are even over a triangle.
    first, second = draws.random((2, _SAMPLES))
    folded = first + second > 1.0
    first, second = np.where(folded, 1.0 - first, first), np.where(folded, 1.0 - second, second)
    weights = np.stack([1.0 - first - second, first, second], axis=1)[:, :, None]
    return (
        np.concatenate([(model.vertices[faces] * weights).sum(axis=1), model.vertices]),
        np.concatenate([(model.colours[faces] * weights).sum(axis=1), model.colours]),
    )


def filled(surface: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the nodes of a lattice (n, n, n) that have the surface before and behind them along every axis."""
    inside = np.ones_like(surface)
    for axis in range(3):
        before = np.maximum.accumulate(surface, axis=axis)
        behind = np.flip(np.maximum.accumulate(np.flip(surface, axis), axis=axis), axis)
        inside &= before & behind
    return inside


def spread(sums: Floats, counts: Floats) -> Floats:
    """Return means (n, n, n, 3) of sums over counts (n, n, n); nodes without any take those of their neighbours."""
    known = counts > 0
    colours = np.where(known[..., None], sums / np.maximum(counts, 1)[..., None], 0.0)
    reached = known.astype(np.float64)
    for _ in range(_SPREAD):
        if (reached > 0).all():
            break
        near, weight = _neighbours(colours * reached[..., None]), _neighbours(reached[..., None])
        new = (reached == 0) & (weight[..., 0] > 0)
        colours[new] = (near / np.maximum(weight, 1e-12))[new]
        reached[new] = 1.0
    return colours


def _neighbours(values: Floats) -> Floats:
    """Return the sum over the six neighbours of each node of values (n, n, n, c)."""
    padded = np.pad(values, ((1, 1), (1, 1), (1, 1), (0, 0)))
    total = np.zeros_like(values)
    for axis in range(3):
        for start in (0, 2):
            cut: list[Any] = [slice(1, -1)] * 3
            cut[axis] = slice(start, start + values.shape[axis])
            total += padded[tuple(cut)]
    return total


def _summed(nodes: NDArray[np.int64], values: Floats, count: int) -> Floats:
    """Return the sums of values (p, c) at nodes (p, 3) x, y, z of a lattice: (count, count, count, c), [z, y, x]."""
    flat = (nodes[:, 2] * count + nodes[:, 1]) * count + nodes[:, 0]
    columns = [np.bincount(flat, column, count**3) for column in values.T]
    sums: Floats = np.stack(columns, axis=-1).reshape(count, count, count, -1).astype(np.float64)
    return sums
