"""Sum the levels of a voxel field's pyramid, and the VJP of that, as compiled loops: `fields.voxels.sum_levels`.

The nodes of a level are every other node of the next, so interpolation is a mean of 1, 2, 4 or 8 neighbours. Notation:
coarse and level (n, n, n, 4), fine (m, m, m, 4) grids indexed [z, y, x, channel], m = 2 n - 1, as flat arrays; buffer
holds one line of a grid along x. Threads share the planes of z: each does one of several equal parts.
"""

import numpy as np

from dreamfields.cpu import Floats
from dreamfields.cpu.compiled import HALF, ONE, ZERO, compiled
from dreamfields.render.cpu import CHANNELS

QUARTER = np.float32(0.25)


@compiled()
def refine(
    coarse: Floats, level: Floats, weight: np.float32, fine: Floats, n: int, buffer: Floats, part: int, parts: int
) -> None:
    """Write fine = (coarse, interpolated) + weight * level."""
    m, row, line = 2 * n - 1, CHANNELS * n, CHANNELS * (2 * n - 1)
    for z in range(m * part // parts, m * (part + 1) // parts):
        for y in range(m):
            # The 4 coarse lines around this one; on a coarse plane two of them are the same.
            low, high = row * n * (z // 2), row * n * ((z + 1) // 2)
            left, right = row * (y // 2), row * ((y + 1) // 2)
            a, b = coarse[low + left : low + left + row], coarse[low + right : low + right + row]
            c, d = coarse[high + left : high + left + row], coarse[high + right : high + right + row]
            start = line * (m * z + y)
            own, out = level[start : start + line], fine[start : start + line]
            for i in range(row):
                buffer[i] = QUARTER * ((a[i] + b[i]) + (c[i] + d[i]))
            for x in range(n - 1):
                for channel in range(CHANNELS):
                    here, there = CHANNELS * x + channel, 2 * CHANNELS * x + channel
                    out[there] = buffer[here] + weight * own[there]
                    mean = HALF * (buffer[here] + buffer[here + CHANNELS])
                    out[there + CHANNELS] = mean + weight * own[there + CHANNELS]
            for i in range(-CHANNELS, 0):
                out[line + i] = buffer[row + i] + weight * own[line + i]


@compiled()
def coarsen(
    fine: Floats, weight: np.float32, level: Floats, coarse: Floats, n: int, buffer: Floats, part: int, parts: int
) -> None:
    """Write the gradients of the level and of the coarse grid, given that of the fine one: the VJP of `refine`.

    That of the level is weight * fine. A coarse node sums the 27 fine ones around it, with weight 1 for its own place
    and a factor 1/2 for each axis off.
    """
    m, row, line = 2 * n - 1, CHANNELS * n, CHANNELS * (2 * n - 1)
    for z in range(n * part // parts, n * (part + 1) // parts):
        for y in range(n):
            buffer[:line] = ZERO
            for dz in range(max(-1, -2 * z), min(2, m - 2 * z)):
                for dy in range(max(-1, -2 * y), min(2, m - 2 * y)):
                    fraction = (ONE if dz == 0 else HALF) * (ONE if dy == 0 else HALF)
                    start = line * (m * (2 * z + dz) + 2 * y + dy)
                    values = fine[start : start + line]
                    for i in range(line):
                        buffer[i] += fraction * values[i]
                    if dz >= 0 and dy >= 0:  # Each line of the fine grid belongs to one of the coarse grid.
                        own = level[start : start + line]
                        for i in range(line):
                            own[i] = weight * values[i]
            out = coarse[row * (n * z + y) : row * (n * z + y + 1)]
            for x in range(n):
                for channel in range(CHANNELS):
                    i = 2 * CHANNELS * x + channel
                    total = buffer[i]
                    if x > 0:
                        total += HALF * buffer[i - CHANNELS]
                    if x < n - 1:
                        total += HALF * buffer[i + CHANNELS]
                    out[CHANNELS * x + channel] = total
