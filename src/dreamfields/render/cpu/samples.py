"""Where rays are sampled, as compiled loops: "intersect" and "sample" of `renderer.render_rays`, ray by ray.

Rays are intersected with the box around the occupied cells and sampled; samples in occupied cells go on to `kernels`.
What must equal torch to the bit is compiled without fused rounding: a sample in another cell would be another image.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dreamfields.render.cpu.compiled import HALF, ONE, ZERO, Floats, compiled
from dreamfields.render.cpu.vectors import CHANNELS

WIDTH = 8  # Samples in a block, on which `kernels` works at once
TINY = np.finfo(np.float32).tiny


class Scene(NamedTuple):
    """One state of a voxel field, and its occupancy."""

    nodes: Floats  # ((n+1)^3 * 4,) grid values, from slow to fast: z, y, x, channel
    side: np.int32  # Nodes a side, n + 1
    occupancy: NDArray[np.uint8]  # (k^3,) 1 for cells that may hold density, from slow to fast: z, y, x
    occupancy_side: np.int32  # Cells a side, k
    low: tuple[np.float32, np.float32, np.float32]
    high: tuple[np.float32, np.float32, np.float32]  # Corners of the box around the occupied cells, in x, y, z
    termination: np.float32  # Transmittance at which a ray ends
    density_scale: np.float32
    density_gain: np.float32
    blob_strength: np.float32
    blob_offset: np.float32
    mix: tuple[np.float32, ...]  # 9 numbers: k C of `fields.voxels`, row by row


class RayBatch(NamedTuple):
    """n rays, and how they are sampled."""

    origins: Floats  # (n, 3)
    directions: Floats  # (n, 3)
    fractions: Floats  # (s + 1,) edges of the bins, from 0 to 1
    offsets: Floats  # (n, s) or (n, 1) place of a sample in its bin: u of `sampling`


class SampleBuffer(NamedTuple):
    """Memory for the s samples of one ray; each thread needs its own."""

    distances: Floats  # (s,)
    lengths: Floats  # (s,)
    cells: NDArray[np.int32]  # (s,) cell of each sample
    kept: NDArray[np.int32]  # (s + WIDTH,) indices of the samples that are evaluated
    values: Floats  # (WIDTH * 4,) grid values of the samples of a block; in the backward pass, dL/dv


def make_sample_buffer(samples: int) -> SampleBuffer:
    """Return memory for the samples of any ray."""
    floats, whole = np.zeros((2, samples), np.float32), np.zeros(2 * samples + WIDTH, np.int32)
    return SampleBuffer(floats[0], floats[1], whole[:samples], whole[samples:], np.zeros(WIDTH * CHANNELS, np.float32))


# --- 1. Intersect ---


@compiled(fuse=False)
def crossing(origin: np.float32, slope: np.float32, low: np.float32, high: np.float32) -> tuple[np.float32, np.float32]:
    """Return the distances at which a ray crosses the two planes of the box across one axis, the nearer first."""
    slope = slope if abs(slope) >= TINY else TINY
    first, second = (low - origin) / slope, (high - origin) / slope
    return (first, second) if first < second else (second, first)


@compiled(fuse=False)
def intersect(scene: Scene, batch: RayBatch, ray: int) -> tuple[np.float32, np.float32]:
    """Return near and far of a ray in the box, as `rays.intersect_box` to the bit; 0 and 0 where it misses."""
    origin, direction, low, high = batch.origins[ray], batch.directions[ray], scene.low, scene.high
    a, b = crossing(origin[0], direction[0], low[0], high[0])
    c, d = crossing(origin[1], direction[1], low[1], high[1])
    e, f = crossing(origin[2], direction[2], low[2], high[2])
    near, far = max(max(a, c), max(e, ZERO)), min(min(b, d), f)
    known = a == a and c == c and e == e  # max and min would drop a NaN.
    return (near, far) if known and far > near else (ZERO, ZERO)


# --- 2. Sample ---


@compiled(fuse=False)
def cell_of(coordinate: np.float32, cells: np.float32) -> np.int32:
    """Return the index of a cell along one axis, as `occupancy.is_occupied` does; NaN is in cell 0."""
    position = (coordinate + ONE) * (HALF * cells)
    position = position if position > ZERO else ZERO
    return np.int32(position if position < cells - ONE else cells - ONE)


@compiled(fuse=False)
def place(batch: RayBatch, ray: int, near: np.float32, far: np.float32, distances: Floats, lengths: Floats) -> None:
    """Write the distances of the samples of a ray and the lengths of their bins."""
    fractions, offsets, length = batch.fractions, batch.offsets, far - near
    if offsets.shape[1] == 1:
        offset = offsets[ray, 0]
        for i in range(len(fractions) - 1):
            start, end = near + length * fractions[i], near + length * fractions[i + 1]
            lengths[i] = end - start
            distances[i] = start + (end - start) * offset
    else:
        for i in range(len(fractions) - 1):
            start, end = near + length * fractions[i], near + length * fractions[i + 1]
            lengths[i] = end - start
            distances[i] = start + (end - start) * offsets[ray, i]


@compiled(fuse=False)
def find_cells(batch: RayBatch, ray: int, distances: Floats, side: np.int32, found: NDArray[np.int32]) -> None:
    """Write the index of each sample's cell among side^3 cells."""
    cells = np.float32(side)
    x0, y0, z0 = batch.origins[ray, 0], batch.origins[ray, 1], batch.origins[ray, 2]
    x1, y1, z1 = batch.directions[ray, 0], batch.directions[ray, 1], batch.directions[ray, 2]
    for i in range(len(distances)):
        t = distances[i]
        z, y, x = cell_of(z0 + z1 * t, cells), cell_of(y0 + y1 * t, cells), cell_of(x0 + x1 * t, cells)
        found[i] = (z * side + y) * side + x


@compiled()
def select(occupancy: NDArray[np.uint8], found: NDArray[np.int32], kept: NDArray[np.int32]) -> int:
    """Write the indices of the samples in occupied cells and return their number."""
    count = 0
    for i in range(len(found)):
        kept[count] = i  # Without a branch: the next sample overwrites one that does not count.
        count += occupancy[found[i]]
    # The last block is filled up with copies of sample 0, which do not count.
    for k in range(count, count + WIDTH):
        kept[k] = 0
    return count


@compiled()
def sample(scene: Scene, batch: RayBatch, ray: int, buffer: SampleBuffer) -> int:
    """Fill the buffer with the samples of a ray and return the number of those in occupied cells."""
    near, far = intersect(scene, batch, ray)
    if far <= near:
        return 0
    place(batch, ray, near, far, buffer.distances, buffer.lengths)
    find_cells(batch, ray, buffer.distances, scene.occupancy_side, buffer.cells)
    return select(scene.occupancy, buffer.cells, buffer.kept)
