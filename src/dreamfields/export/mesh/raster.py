"""Rasterise triangles on the CPU: which face lies in a pixel, and where in it.

Notation: f faces with corners (f, 3, 2) in pixels, x to the right and y down, the centre of pixel (row, column) at
(column + 0.5, row + 0.5); 1/z (f, 3) the inverse depths of corners along the viewing direction; b (m, 3) barycentric
coordinates of m pixels. Within a face 1/z and b/z are linear in the image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dreamfields.cpu import can_compile
from dreamfields.export.mesh.mesh import Floats, Integers
from dreamfields.reprs import short_repr
from dreamfields.scene.cameras import Camera

BATCH_PIXELS: Final = 2_000_000  # Pixels of faces' bounding boxes that are tested at a time, some 0.2 GB


@dataclass(frozen=True)
class Coverage:
    """The nearest face in each of size x size pixels."""

    faces: NDArray[np.int32]  # (size, size) index of the face, -1 where there is none
    weights: NDArray[np.float32]  # (size, size, 3) perspective-correct barycentric coordinates in it; 0 where none

    __repr__ = short_repr

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Return (size, size), where there is a face."""
        return self.faces >= 0

    def interpolate(self, values: Floats, faces: Integers) -> Floats:
        """Return values (m, c) at the pixels of the mask, in their order, of values (v, c) at faces' corners (f, 3)."""
        pixels = np.flatnonzero(self.mask)
        owners, weights = faces[self.faces.ravel()[pixels]], self.weights.reshape(-1, 3)[pixels]
        first, second, third = (weights[:, corner, None] * values[owners[:, corner]] for corner in range(3))
        mixed: Floats = first + second + third
        return mixed


def cover(corners: Floats, size: int, inverse_depths: Floats | None = None) -> Coverage:
    """Find the nearest of the faces (f, 3, 2), of either winding, at the centre of each of size x size pixels.

    Inverse depths (f, 3) are positive; None is for a flat image, such as an atlas. Of equally near faces, the first.
    """
    if not can_compile():
        return cover_reference(corners, size, inverse_depths)
    loops = import_module("dreamfields.export.cpu.raster")
    owners, weights = np.full(size * size, -1, np.int32), np.zeros(size * size * 3, np.float32)
    depths = np.zeros((0, 3)) if inverse_depths is None else np.ascontiguousarray(inverse_depths, np.float64)
    inputs = np.ascontiguousarray(corners, np.float64).reshape(-1, 6), depths, size
    loops.cover(*inputs, np.zeros(size * size, np.float32), owners, weights)
    return Coverage(owners.reshape(size, size), weights.reshape(size, size, 3))


def cover_reference(corners: Floats, size: int, inverse_depths: Floats | None = None) -> Coverage:
    """Return what `cover` returns: the readable reference."""
    nearness = np.zeros(size * size, np.float32)
    owners = np.full(size * size, -1, np.int32)
    weights = np.zeros((size * size, 3), np.float32)
    for face, pixel, inside in _candidates(corners.astype(np.float64), size):
        scaled = inside if inverse_depths is None else inside * inverse_depths[face]
        near = scaled.sum(axis=1).astype(np.float32) if inverse_depths is not None else np.ones(len(face), np.float32)
        best = nearness.copy()
        np.maximum.at(best, pixel, near)
        # Backwards, since of several values for a pixel the last is kept.
        wins = np.flatnonzero((near == best[pixel]) & (near > nearness[pixel]))[::-1]
        nearness[pixel[wins]], owners[pixel[wins]] = near[wins], face[wins]
        weights[pixel[wins]] = scaled[wins] / scaled[wins].sum(axis=1, keepdims=True)
    return Coverage(owners.reshape(size, size), weights.reshape(size, size, 3))


def cover_view(vertices: Floats, faces: Integers, camera: Camera, size: int) -> Coverage:
    """Find the faces of a mesh that a camera sees; faces with a corner behind it are left out."""
    positions, depths = project(vertices, camera, size)
    kept = np.flatnonzero((depths[faces] > 1e-3).all(axis=1))
    found = cover(positions[faces[kept]], size, 1.0 / depths[faces[kept]])
    owners = np.where(found.mask, kept[found.faces] if len(kept) else -1, -1)
    return Coverage(owners.astype(np.int32), found.weights)


def shaded(coverage: Coverage, faces: Integers, colours: Floats, brightness: Floats) -> NDArray[np.float32]:
    """Return an image (s, s, 4) of the faces (f, 3) in 2s x 2s pixels: premultiplied colour, and opacity.

    Each pixel is the mean of four. Colours (v, 3) of vertices are interpolated and multiplied by each face's
    `brightness` (f,).
    """
    if not can_compile():
        return shaded_reference(coverage, faces, colours, brightness)
    size = len(coverage.faces) // 2
    image = np.zeros(size * size * 4, np.float32)
    kinds = ((faces, np.int32), (colours, np.float32), (brightness, np.float32))
    flat = (np.ascontiguousarray(values, kind).reshape(-1) for values, kind in kinds)
    loops = import_module("dreamfields.export.cpu.raster")
    loops.shade(coverage.faces.reshape(-1), coverage.weights.reshape(-1), *flat, size, image)
    return image.reshape(size, size, 4)


def shaded_reference(coverage: Coverage, faces: Integers, colours: Floats, brightness: Floats) -> NDArray[np.float32]:
    """Return what `shaded` returns: the readable reference."""
    size = len(coverage.faces) // 2
    layers = np.zeros((2 * size, 2 * size, 4), np.float32)
    seen = coverage.faces[coverage.mask]
    layers[coverage.mask, :3] = coverage.interpolate(colours, faces) * brightness[seen, None]
    layers[coverage.mask, 3] = 1.0
    mean: NDArray[np.float32] = layers.reshape(size, 2, size, 2, 4).mean(axis=(1, 3))
    return mean


def project(vertices: Floats, camera: Camera, size: int) -> tuple[Floats, Floats]:
    """Return positions (v, 2) of vertices (v, 3) in a camera's image, in pixels, and their depths (v,) ahead of it."""
    axes = camera.axes().double().numpy()
    right, up, depth = ((vertices - camera.position().double().numpy()) @ axes.T).T
    half_width = np.where(np.abs(depth) > 1e-9, depth, 1e-9) * np.tan(np.radians(camera.fov_deg) / 2.0)
    return np.stack([1.0 + right / half_width, 1.0 - up / half_width], axis=1) * (size / 2.0), depth


def _candidates(corners: Floats, size: int) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Yield faces (m,), pixels (m,) whose centres they hold and barycentric coordinates there (m, 3), in batches."""
    # Pixel centres within each face's bounding box, as half-open ranges of columns and rows.
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, size).astype(np.int64)
    high = np.clip(np.floor(corners.max(axis=1) - 0.5) + 1, 0, size).astype(np.int64)
    spans = np.maximum(high - low, 0)
    counts = spans.prod(axis=1)
    (touched,) = np.nonzero(counts)
    batches = np.cumsum(counts[touched]) // BATCH_PIXELS
    for batch in np.unique(batches):
        chosen = touched[batches == batch]
        face = np.repeat(chosen, counts[chosen])
        within = np.arange(len(face)) - np.repeat(np.cumsum(counts[chosen]) - counts[chosen], counts[chosen])
        row, column = np.divmod(within, spans[face, 0])
        row, column = row + low[face, 1], column + low[face, 0]
        barycentric = _barycentric(corners[face], np.stack([column + 0.5, row + 0.5], axis=1))
        held = (barycentric >= 0.0).all(axis=1)
        yield face[held], (row * size + column)[held], barycentric[held]


def _barycentric(corners: Floats, points: Floats) -> Floats:
    """Return the coordinates (m, 3) of points (m, 2) in triangles (m, 3, 2); negative where there is no area."""
    a, b, c = corners.swapaxes(0, 1)
    area = _cross(b - a, c - a)
    safe = np.where(area == 0.0, 1.0, area)
    second, third = _cross(points - a, c - a) / safe, _cross(b - a, points - a) / safe
    found = np.stack([1.0 - second - third, second, third], axis=1)
    return np.where(area[:, None] == 0.0, -1.0, found)


def _cross(first: Floats, second: Floats) -> Floats:
    crossed: Floats = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    return crossed
