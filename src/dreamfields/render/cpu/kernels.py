"""Rendering of voxel fields as compiled loops: the steps of `renderer.render_rays`, ray by ray.

One pass over a ray keeps its samples in the fastest memory, evaluates occupied cells only and stops where the ray ends.
What must equal torch to the bit is compiled without fused rounding: a sample in another cell would be another image.

Notation, as in `volume` and `fields.voxels`: t distances, delta lengths, sigma densities, c colours, w weights, T
transmittances; v the 4 grid values of a sample; per ray out = sum_i w_i q_i with q = (c, 1, t), and g = dL/d out. Then,
with e_i = exp(-sigma_i delta_i),

    dL/d sigma_i = delta_i (T_i e_i g.q_i - sum_{j>i} w_j g.q_j),    dL/d c_i = w_i g_c.

The samples of a ray lie in blocks: for each quantity a line of `WIDTH` numbers, for vector instructions.
"""

import math
from typing import NamedTuple

import numpy as np

from dreamfields.cpu import Bytes, Floats, Indices, Integers
from dreamfields.cpu.compiled import HALF, ONE, TWO, ZERO, compiled
from dreamfields.render.cpu import CHANNELS, RayBatch, Scene
from dreamfields.render.cpu.vectors import gather, scatter

WIDTH = 8  # Samples in a block
# Where the lines of a block begin; COLOUR has 3. X, Y and Z hold places in the world, later those in the cell.
DISTANCE, LENGTH, X, Y, Z, DENSITY, SLOPE, COLOUR, WEIGHT, PASSED, BLOCK = (
    line * WIDTH for line in (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12)
)
RADIUS = GRAD_Q = DENSITY  # The distance from the centre until the density is known; g.q when it has been used
TINY = np.finfo(np.float32).tiny


class SampleBuffer(NamedTuple):
    """Memory for the s samples of one ray; each thread needs its own."""

    distances: Floats  # (s,)
    lengths: Floats  # (s,)
    cells: Indices  # (s,) cell of each sample
    kept: Indices  # (s + WIDTH,) indices of the samples that are evaluated
    values: Floats  # (WIDTH * 4,) grid values of the samples of a block; in the backward pass, dL/dv


def make_sample_buffer(samples: int) -> SampleBuffer:
    """Return memory for the samples of any ray."""
    floats, whole = np.zeros((2, samples), np.float32), np.zeros(2 * samples + WIDTH, np.int32)
    return SampleBuffer(floats[0], floats[1], whole[:samples], whole[samples:], np.zeros(WIDTH * CHANNELS, np.float32))


# 1. Intersect
@compiled(fuse=False, inline=True)
def crossing(origin: np.float32, slope: np.float32, low: np.float32, high: np.float32) -> tuple[np.float32, np.float32]:
    """Return the distances at which a ray crosses the two planes of the box across one axis, the nearer first."""
    slope = slope if abs(slope) >= TINY else TINY
    first, second = (low - origin) / slope, (high - origin) / slope
    return (first, second) if first < second else (second, first)


@compiled(fuse=False, inline=True)
def intersect(scene: Scene, batch: RayBatch, ray: int) -> tuple[np.float32, np.float32]:
    """Return near and far of a ray in the box, as `rays.intersect_box` to the bit; 0 and 0 where it misses."""
    origin, direction, low, high = batch.origins[ray], batch.directions[ray], scene.low, scene.high
    a, b = crossing(origin[0], direction[0], low[0], high[0])
    c, d = crossing(origin[1], direction[1], low[1], high[1])
    e, f = crossing(origin[2], direction[2], low[2], high[2])
    near, far = max(max(a, c), max(e, ZERO)), min(min(b, d), f)
    known = a == a and c == c and e == e  # max and min would drop a NaN.
    return (near, far) if known and far > near else (ZERO, ZERO)


# 2. Sample
@compiled(fuse=False, inline=True)
def cell_of(coordinate: np.float32, cells: np.float32) -> np.int32:
    """Return the index of a cell along one axis, as `occupancy.is_occupied` does; NaN is in cell 0."""
    position = (coordinate + ONE) * (HALF * cells)
    position = position if position > ZERO else ZERO
    return np.int32(position if position < cells - ONE else cells - ONE)


@compiled(fuse=False, inline=True)
def place(batch: RayBatch, ray: int, near: np.float32, far: np.float32, distances: Floats, lengths: Floats) -> None:
    """Write the distances of the samples of a ray and the lengths of their bins."""
    fractions, offsets, length, samples = batch.fractions, batch.offsets[ray], far - near, len(distances)
    ends = fractions[1:]
    for i in range(samples):
        distances[i] = near + length * fractions[i]
        lengths[i] = (near + length * ends[i]) - distances[i]
    if len(offsets) == 1:
        offset = offsets[0]
        for i in range(samples):
            distances[i] += lengths[i] * offset
    else:
        for i in range(samples):
            distances[i] += lengths[i] * offsets[i]


@compiled(fuse=False, inline=True)
def find_cells(batch: RayBatch, ray: int, distances: Floats, side: np.int32, found: Indices) -> None:
    """Write the index of each sample's cell among side^3 cells."""
    cells = np.float32(side)
    x0, y0, z0 = batch.origins[ray, 0], batch.origins[ray, 1], batch.origins[ray, 2]
    x1, y1, z1 = batch.directions[ray, 0], batch.directions[ray, 1], batch.directions[ray, 2]
    for i in range(len(distances)):
        t = distances[i]
        z, y, x = cell_of(z0 + z1 * t, cells), cell_of(y0 + y1 * t, cells), cell_of(x0 + x1 * t, cells)
        found[i] = (z * side + y) * side + x


@compiled(inline=True)
def select(occupancy: Bytes, found: Indices, kept: Indices) -> int:
    """Write the indices of the samples in occupied cells and return their number."""
    count = 0
    for i in range(len(found)):
        kept[count] = i  # Without a branch: the next sample overwrites one that does not count.
        count += occupancy[np.uint32(found[i])]
    kept[count : count + WIDTH] = 0  # Fills the last block up with copies of sample 0, which do not count.
    return count


@compiled(inline=True)
def sample(scene: Scene, batch: RayBatch, ray: int, buffer: SampleBuffer) -> int:
    """Fill the buffer with the samples of a ray and return the number of those in occupied cells."""
    near, far = intersect(scene, batch, ray)
    if far <= near:
        return 0
    place(batch, ray, near, far, buffer.distances, buffer.lengths)
    find_cells(batch, ray, buffer.distances, scene.occupancy_side, buffer.cells)
    return select(scene.occupancy, buffer.cells, buffer.kept)


# 3. Query
@compiled(inline=True)
def take(batch: RayBatch, ray: int, buffer: SampleBuffer, start: int, block: Floats, width: int) -> None:
    """Fill a block with the samples that are evaluated, from number `start` on."""
    x0, y0, z0 = batch.origins[ray, 0], batch.origins[ray, 1], batch.origins[ray, 2]
    x1, y1, z1 = batch.directions[ray, 0], batch.directions[ray, 1], batch.directions[ray, 2]
    for k in range(width):
        i = np.uint32(buffer.kept[start + k])
        block[DISTANCE + k], block[LENGTH + k] = buffer.distances[i], buffer.lengths[i]
    for k in range(width):
        t = block[DISTANCE + k]
        block[X + k], block[Y + k], block[Z + k] = x0 + x1 * t, y0 + y1 * t, z0 + z1 * t


@compiled(inline=True)
def lattice(coordinate: np.float32, cells: np.float32) -> tuple[np.float32, np.float32]:
    """Return the lower node along one axis and the place in [0, 1] between it and the next; NaN is at node 0."""
    position = (coordinate + ONE) * HALF * cells
    position = position if position > ZERO else ZERO
    position = position if position < cells else cells
    low = np.float32(np.int32(position if position < cells - ONE else cells - ONE))
    return low, position - low


@compiled(inline=True)
def locate(side: np.int32, block: Floats, starts: Indices, width: int) -> None:
    """Write where the lowest node of each sample's cell starts in the grid; replace x, y, z by places in the cell."""
    cells = np.float32(side - 1)
    for k in range(width):
        x, y, z = block[X + k], block[Y + k], block[Z + k]
        block[RADIUS + k] = np.sqrt(x * x + y * y + z * z)
        x, block[X + k] = lattice(x, cells)
        y, block[Y + k] = lattice(y, cells)
        z, block[Z + k] = lattice(z, cells)
        starts[k] = np.int32(CHANNELS * ((np.int32(z) * side + np.int32(y)) * side + np.int32(x)))


@compiled(inline=True)
def interpolate(scene: Scene, block: Floats, starts: Indices, values: Floats, count: int) -> None:
    """Write the trilinear grid values of each sample."""
    strides = CHANNELS * int(scene.side), CHANNELS * int(scene.side) * int(scene.side)
    for k in range(count):
        gather(values, CHANNELS * k, scene.nodes, int(starts[k]), strides, (block[X + k], block[Y + k], block[Z + k]))
    values[CHANNELS * count :] = ZERO


LOG2_E = np.float32(1.0 / math.log(2.0))
LN_2_HIGH, LN_2_LOW = np.float32(0.693359375), np.float32(math.log(2.0) - 0.693359375)
ROUND, BIAS, LEAST = np.float32(1.5 * 2.0**23), np.int32(127 << 23), np.float32(-87.0)
C3, C4, C5, C6, C7 = (np.float32(1.0 / math.factorial(n)) for n in (3, 4, 5, 6, 7))
A3, A5, A7, A9, A11, A13 = (np.float32(1.0 / n) for n in (3, 5, 7, 9, 11, 13))


@compiled(inline=True)
def split_exp(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return 2^n and p with exp(x) = 2^n (1 + p) and |p| < 0.42, for x <= 0; x is at least -87.

    Adding 1.5 * 2^23 rounds to a whole n in the lowest bits, which are shifted into the exponent. The Taylor series is
    exact to the last bit for |x - n ln 2| <= ln 2 / 2.
    """
    x = LEAST if x < LEAST else x
    shifted = np.float32(x * LOG2_E + ROUND)
    n = shifted - ROUND
    scale = np.int32((shifted.view(np.int32) << np.int32(23)) + BIAS).view(np.float32)
    r = (x - n * LN_2_HIGH) - n * LN_2_LOW
    return scale, r + r * r * (HALF + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7)))))


@compiled(inline=True)
def sigmoid(p: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-p)) without overflow."""
    scale, part = split_exp(-abs(p))
    u = scale + scale * part
    return (u if p < ZERO else ONE) / (ONE + u)


@compiled(inline=True)
def decode(scene: Scene, block: Floats, values: Floats, width: int) -> None:
    """Write sigma, d sigma / d v_0 and c of each sample.

    With u = exp(-|p|): softplus(p) = max(p, 0) + log(1 + u), of slope 1 / (1 + u) or u / (1 + u), and log(1 + u) =
    2 artanh(s) with s = u / (2 + u) <= 1/3, a series of few terms.
    """
    mix, scale, gain = scene.mix, scene.density_scale, scene.density_gain
    for k in range(width):
        p = gain * values[CHANNELS * k] + (scene.blob_strength * (ONE - TWO * block[RADIUS + k]) + scene.blob_offset)
        power, part = split_exp(-abs(p))
        u = power + power * part
        s = u / (TWO + u)
        q = s * s
        log = TWO * s * (ONE + q * (A3 + q * (A5 + q * (A7 + q * (A9 + q * (A11 + q * A13))))))
        block[DENSITY + k] = scale * ((ZERO if p < ZERO else p) + log)
        block[SLOPE + k] = scale * gain * (u if p < ZERO else ONE) / (ONE + u)
        a, b, c = values[CHANNELS * k + 1], values[CHANNELS * k + 2], values[CHANNELS * k + 3]
        block[COLOUR + k] = sigmoid(mix[0] * a + mix[1] * b + mix[2] * c)
        block[COLOUR + WIDTH + k] = sigmoid(mix[3] * a + mix[4] * b + mix[5] * c)
        block[COLOUR + 2 * WIDTH + k] = sigmoid(mix[6] * a + mix[7] * b + mix[8] * c)


# 4. Integrate
@compiled(inline=True)
def weigh(
    block: Floats, count: int, width: int, transmittance: np.float32, termination: np.float32
) -> tuple[int, np.float32]:
    """Write w = T alpha and T e for each sample; return the number before the ray's end, and the transmittance left."""
    for k in range(width):
        scale, part = split_exp(-block[DENSITY + k] * block[LENGTH + k])
        block[WEIGHT + k] = (ONE - scale) - scale * part
        block[PASSED + k] = scale + scale * part
    for k in range(count):
        if transmittance <= termination:
            return k, transmittance
        block[WEIGHT + k] *= transmittance
        transmittance *= block[PASSED + k]
        block[PASSED + k] = transmittance
    return count, transmittance


class Tape(NamedTuple):
    """Blocks of rays one after another, for the backward pass."""

    blocks: Floats  # (b, BLOCK)
    starts: Indices  # (b, WIDTH) where the lowest node of each sample's cell starts in the grid
    counts: Indices  # (b,) samples in each block


def make_tape(blocks: int) -> Tape:
    """Return a tape of a number of blocks."""
    # Three arrays without gaps: into a part of a wider one no loop would write whole vectors.
    floats, starts = np.empty((blocks, BLOCK), np.float32), np.empty((blocks, WIDTH), np.int32)
    return Tape(floats, starts, np.empty(blocks, np.int32))


@compiled(inline=True)
def march(scene: Scene, batch: RayBatch, ray: int, buffer: SampleBuffer, tape: Tape, top: int) -> int:
    """Fill blocks from `top` on with the samples of a ray, up to its end; return the index after the last block."""
    done, transmittance, width = 0, ONE, tape.starts.shape[1]
    total = sample(scene, batch, ray, buffer)
    while done < total and not transmittance <= scene.termination:
        block, starts = tape.blocks[top], tape.starts[top]
        count = min(total - done, width)
        take(batch, ray, buffer, done, block, width)
        locate(scene.side, block, starts, width)
        interpolate(scene, block, starts, buffer.values, count)
        decode(scene, block, buffer.values, width)
        tape.counts[top], transmittance = weigh(block, count, width, transmittance, scene.termination)
        done += count
        top += 1
    return top


@compiled()
def integrate(
    scene: Scene, batch: RayBatch, rays: Integers, buffer: SampleBuffer, tape: Tape, ends: Indices, out: Floats
) -> int:
    """Write colour, opacity and depth of the listed rays to out (5, n); return how many the tape is long enough for.

    Their blocks stay on the tape, those of a ray up to before ends[ray], (n,).
    """
    most, top = (len(buffer.distances) - 1) // WIDTH + 1, 0
    for number in range(len(rays)):
        if top + most > len(tape.counts):
            return number
        ray, first = rays[number], top
        top = march(scene, batch, ray, buffer, tape, first)
        ends[ray] = top
        red, green, blue, opacity, depth = ZERO, ZERO, ZERO, ZERO, ZERO
        for index in range(first, top):
            block = tape.blocks[index]
            for k in range(tape.counts[index]):
                weight = block[WEIGHT + k]
                red += weight * block[COLOUR + k]
                green += weight * block[COLOUR + WIDTH + k]
                blue += weight * block[COLOUR + 2 * WIDTH + k]
                opacity += weight
                depth += weight * block[DISTANCE + k]
        out[0, ray], out[1, ray], out[2, ray], out[3, ray], out[4, ray] = red, green, blue, opacity, depth
    return len(rays)


# 5. Backward pass
@compiled(inline=True)
def vjp(scene: Scene, block: Floats, values: Floats, count: int, grad: Floats, behind: np.float32) -> np.float32:
    """Overwrite the values of a block with dL/dv; return sum w g.q from this block on, given the sum behind it."""
    mix, width = scene.mix, len(values) // CHANNELS
    g0, g1, g2, g3, g4 = grad[0], grad[1], grad[2], grad[3], grad[4]
    for k in range(width):
        red, green, blue = block[COLOUR + k], block[COLOUR + WIDTH + k], block[COLOUR + 2 * WIDTH + k]
        block[GRAD_Q + k] = g0 * red + g1 * green + g2 * blue + g3 + g4 * block[DISTANCE + k]
    for i in range(count):
        k = count - 1 - i
        ahead = block[PASSED + k] * block[GRAD_Q + k] - behind
        behind += block[WEIGHT + k] * block[GRAD_Q + k]
        block[GRAD_Q + k] = ahead
    for k in range(width):
        weight = block[WEIGHT + k]
        red, green, blue = block[COLOUR + k], block[COLOUR + WIDTH + k], block[COLOUR + 2 * WIDTH + k]
        red, green = weight * g0 * red * (ONE - red), weight * g1 * green * (ONE - green)
        blue = weight * g2 * blue * (ONE - blue)
        values[CHANNELS * k] = block[GRAD_Q + k] * block[LENGTH + k] * block[SLOPE + k]
        values[CHANNELS * k + 1] = mix[0] * red + mix[3] * green + mix[6] * blue
        values[CHANNELS * k + 2] = mix[1] * red + mix[4] * green + mix[7] * blue
        values[CHANNELS * k + 3] = mix[2] * red + mix[5] * green + mix[8] * blue
    return behind


@compiled(inline=True)
def distribute(side: int, block: Floats, starts: Indices, values: Floats, count: int, gradient: Floats) -> None:
    """Add dL/dv of each sample to the gradient of the 8 nodes of its cell: the VJP of `interpolate`."""
    strides = CHANNELS * side, CHANNELS * side * side
    for k in range(count):
        scatter(values, CHANNELS * k, gradient, int(starts[k]), strides, (block[X + k], block[Y + k], block[Z + k]))


@compiled()
def differentiate(
    scene: Scene, rays: Integers, tape: Tape, ends: Indices, grads: Floats, values: Floats, gradient: Floats
) -> None:
    """Add dL/d nodes of the rays on a tape to a gradient, given g (5, n); `values` is memory for a block."""
    first = 0
    for ray in rays:
        behind, index = ZERO, int(ends[ray])
        while index > first:
            index -= 1
            block, starts, count = tape.blocks[index], tape.starts[index], int(tape.counts[index])
            behind = vjp(scene, block, values, count, grads[:, ray], behind)
            distribute(int(scene.side), block, starts, values, count, gradient)
        first = int(ends[ray])
