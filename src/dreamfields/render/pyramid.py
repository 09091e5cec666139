"""The collapse of a voxel field's pyramid, and its transpose, as compiled loops: `fields.voxels.collapse`, faster.

The nodes of a level are every other node of the next, so interpolation is a mean of 1, 2, 4 or 8 neighbours. Results
lie as `kernels` reads them, the 4 channels of a node together, which saves turning them round.

Notation: coarse (n, n, n, 4) and fine (m, m, m, 4) grids indexed [z, y, x, channel], m = 2 n - 1, as flat arrays; level
(4, m, m, m) values of one level as the field keeps them; s its weight.
"""

import numpy as np

from dreamfields.render.compiled import Floats, compiled

QUARTER, HALF, ONE = np.float32(0.25), np.float32(0.5), np.float32(1.0)
CHANNELS = 4


@compiled()
def refine(coarse: Floats, level: Floats, weight: np.float32, fine: Floats, n: int, part: int, parts: int) -> None:
    """Write fine = interpolation of coarse + s level, for one of several equal parts of the planes."""
    m, row = 2 * n - 1, CHANNELS * n
    means = np.empty(row, np.float32)
    for z in range(m * part // parts, m * (part + 1) // parts):
        for y in range(m):
            # A node on a coarse plane is the mean of that plane and itself.
            low, high = row * n * (z // 2), row * n * ((z + 1) // 2)
            left, right = row * (y // 2), row * ((y + 1) // 2)
            a, b = coarse[low + left : low + left + row], coarse[low + right : low + right + row]
            c, d = coarse[high + left : high + left + row], coarse[high + right : high + right + row]
            for i in range(row):
                means[i] = QUARTER * ((a[i] + b[i]) + (c[i] + d[i]))
            out = fine[CHANNELS * m * (m * z + y) : CHANNELS * m * (m * z + y + 1)]
            for channel in range(CHANNELS):
                own = level[m * (m * (m * channel + z) + y) : m * (m * (m * channel + z) + y + 1)]
                for x in range(n):
                    out[2 * CHANNELS * x + channel] = means[CHANNELS * x + channel] + weight * own[2 * x]
                for x in range(n - 1):
                    mean = HALF * (means[CHANNELS * x + channel] + means[CHANNELS * (x + 1) + channel])
                    out[2 * CHANNELS * x + CHANNELS + channel] = mean + weight * own[2 * x + 1]


@compiled()
def weigh_level(fine: Floats, weight: np.float32, level: Floats, m: int, part: int, parts: int) -> None:
    """Write the gradient of a level, s fine, for one of several equal parts of its planes."""
    for z in range(m * part // parts, m * (part + 1) // parts):
        for y in range(m):
            row = fine[CHANNELS * m * (m * z + y) : CHANNELS * m * (m * z + y + 1)]
            for channel in range(CHANNELS):
                own = level[m * (m * (m * channel + z) + y) : m * (m * (m * channel + z) + y + 1)]
                for x in range(m):
                    own[x] = weight * row[CHANNELS * x + channel]


@compiled()
def coarsen(fine: Floats, coarse: Floats, n: int, part: int, parts: int) -> None:
    """Write the gradient of the coarse grid from that of the fine one, for one of several equal parts of its planes.

    Each coarse node gathers from the 27 fine ones around it: 1 from its own place, 1/2 for each axis that one is off.
    """
    m = 2 * n - 1
    sums = np.empty(CHANNELS * m, np.float32)
    for z in range(n * part // parts, n * (part + 1) // parts):
        for y in range(n):
            sums[:] = np.float32(0.0)
            for dz in range(max(-1, -2 * z), min(2, m - 2 * z)):
                for dy in range(max(-1, -2 * y), min(2, m - 2 * y)):
                    share = (ONE if dz == 0 else HALF) * (ONE if dy == 0 else HALF)
                    start = CHANNELS * m * (m * (2 * z + dz) + 2 * y + dy)
                    row = fine[start : start + CHANNELS * m]
                    for i in range(CHANNELS * m):
                        sums[i] += share * row[i]
            out = coarse[CHANNELS * n * (n * z + y) : CHANNELS * n * (n * z + y + 1)]
            for x in range(n):
                for channel in range(CHANNELS):
                    i = 2 * CHANNELS * x + channel
                    total = sums[i]
                    if x > 0:
                        total += HALF * sums[i - CHANNELS]
                    if x < n - 1:
                        total += HALF * sums[i + CHANNELS]
                    out[CHANNELS * x + channel] = total
