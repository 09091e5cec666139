"""Rasterising triangles as a compiled loop: one face after another, each over the pixels of its bounding box."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamfields.cpu import Floats, Indices
from dreamfields.cpu.compiled import compiled

Doubles = NDArray[np.float64]


# Nothing is fused, so that a pixel on an edge belongs to the same faces as in the reference.
@compiled(fuse=False)
def cover(corners: Doubles, inverse_depths: Doubles, size: int, nearness: Floats, owners: Indices, out: Floats) -> None:
    """Write what `mesh.raster.cover_reference` returns for corners (f, 6), x and y by turns.

    `nearness` (size^2,) is 0 and `owners` (size^2,) -1 at first. Without inverse depths, (0, 3), the image is flat.
    """
    flat = len(inverse_depths) == 0
    for face in range(len(corners)):
        ax, ay, bx, by = corners[face, 0], corners[face, 1], corners[face, 2], corners[face, 3]
        cx, cy = corners[face, 4], corners[face, 5]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0 or not math.isfinite(area):
            continue
        left, right = _span(min(ax, bx, cx), max(ax, bx, cx), size)
        top, bottom = _span(min(ay, by, cy), max(ay, by, cy), size)
        for row in range(top, bottom):
            y = row + 0.5
            for column in range(left, right):
                x = column + 0.5
                second = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                third = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                first = 1.0 - second - third
                if first < 0.0 or second < 0.0 or third < 0.0:
                    continue
                if not flat:
                    first *= inverse_depths[face, 0]
                    second *= inverse_depths[face, 1]
                    third *= inverse_depths[face, 2]
                total = first + second + third
                near = np.float32(1.0) if flat else np.float32(total)
                pixel = row * size + column
                if near > nearness[pixel]:
                    nearness[pixel], owners[pixel] = near, face
                    out[3 * pixel] = first / total
                    out[3 * pixel + 1] = second / total
                    out[3 * pixel + 2] = third / total


@compiled()
def shade(
    owners: Indices, weights: Floats, faces: Indices, colours: Floats, brightness: Floats, size: int, out: Floats
) -> None:
    """Write what `mesh.raster.shaded_reference` returns, (size, size, 4), of faces (f, 3) and a coverage twice as fine.

    Faces, colours (v, 3), the coverage's weights and `out`, 0 at first, are flat.
    """
    quarter = np.float32(0.25)
    for row in range(2 * size):
        for column in range(2 * size):
            pixel = row * 2 * size + column
            face = owners[pixel]
            if face < 0:
                continue
            place = 4 * ((row // 2) * size + column // 2)
            a, b, c = 3 * faces[3 * face], 3 * faces[3 * face + 1], 3 * faces[3 * face + 2]
            u, v, w = weights[3 * pixel], weights[3 * pixel + 1], weights[3 * pixel + 2]
            scale = quarter * brightness[face]
            for channel in range(3):
                out[place + channel] += scale * (
                    u * colours[a + channel] + v * colours[b + channel] + w * colours[c + channel]
                )
            out[place + 3] += quarter


@compiled(fuse=False)
def _span(low: Any, high: Any, size: int) -> Any:
    """Return the first pixel whose centre lies between two positions along an axis, and the one after the last."""
    first = int(min(max(math.ceil(low - 0.5), 0.0), float(size)))
    return first, int(min(max(math.floor(high - 0.5) + 1.0, float(first)), float(size)))
