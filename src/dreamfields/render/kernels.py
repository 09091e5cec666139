"""The voxel field's rendering as compiled loops over plain arrays: the clauses of `renderer.render_rays`, ray by ray.

One pass over a ray keeps its samples in the fastest memory, asks only occupied cells and stops where no light is left.
Nothing here knows torch; `fused` makes a differentiable function of it. The loops run without the interpreter's lock in
as many threads as the caller likes, and write only to what they are given.

Notation, as in `volume` and `fields.voxels`: t distances, delta lengths, sigma densities, c colours, w weights, T light
that is left; v the 4 grid values at a sample; per ray out = sum_i w_i q_i with q = (c, 1, t), and g = dL/d out. Then,
with e_i = exp(-sigma_i delta_i),

    dL/d sigma_i = delta_i (T_i e_i g.q_i - sum_{j>i} w_j g.q_j),    dL/d c_i = w_i g_c.

The samples of a ray lie in blocks: a row of `WIDTH` numbers for each quantity, so that loops over a block become vector
instructions. All numbers are float32, constants too: one float64 would drag its whole expression along.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dreamfields.render.compiled import Floats, Integers, compiled
from dreamfields.render.vectors import CHANNELS, gather, scatter


class Scene(NamedTuple):
    """One fixed state of a voxel field, and where it is worth asking."""

    nodes: Floats
    """((n+1)^3 * 4,) grid values, from slow to fast: z, y, x, channel."""
    side: int
    """Nodes a side, n + 1."""
    occupancy: NDArray[np.uint8]
    """(k^3,) 1 for cells that may hold density, from slow to fast: z, y, x."""
    occupancy_side: int
    """Cells a side, k."""
    density_scale: np.float32
    density_gain: np.float32
    blob_strength: np.float32
    blob_offset: np.float32
    mix: tuple[np.float32, ...]
    """9 numbers: k C, row by row."""


class Bundle(NamedTuple):
    """Rays that hit the box, and how they are sampled."""

    origins: Floats
    """(m, 3)"""
    directions: Floats
    """(m, 3)"""
    near: Floats
    """(m,)"""
    far: Floats
    """(m,)"""
    fractions: Floats
    """(s + 1,) edges of the bins, from 0 to 1."""
    jitter: Floats
    """(m, s) shares of a bin; (0, s) for the middles."""


WIDTH = 16
"""Samples in a block."""

# Where the rows of a block begin; COLOUR is 3 rows. Where a sample lies between its nodes takes the place, once it is
# known, of where it lies in the world.
DISTANCE, LENGTH, X, Y, Z, DENSITY, SLOPE, COLOUR, WEIGHT, PASSED, BLOCK = (
    row * WIDTH for row in (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12)
)
RADIUS = DENSITY  # Until the density is known.
SEEN = DENSITY  # g.q, once the density is no longer needed.

ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)

DARK = np.float32(2.0**-23)
"""Light at which a ray stops: all that is behind changes an opacity of 1 by no more than its last bit, and a gradient
as little beside that of a sample in full light."""


# --- 1. Intersect: done by the caller, as it is for the reference. ---


# --- 2. Sample ---


@compiled(fuse=False)
def cell_of(coordinate: np.float32, cells: np.float32) -> np.int32:
    """Return the index of the cell along one axis, as `occupancy.is_occupied` does; NaN is in cell 0."""
    position = (coordinate + ONE) * (HALF * cells)
    position = position if position > ZERO else ZERO
    return np.int32(position if position < cells - ONE else cells - ONE)


@compiled(fuse=False)
def sample(scene: Scene, bundle: Bundle, ray: int, index: int, block: Floats) -> tuple[int, int]:
    """Fill a block with a ray's samples in occupied cells, from its sample `index` on.

    Where they lie is computed to the bit as `sampling` and `Rays.at` do: another cell would be another picture.
    Returns the number of samples in the block, and that of the first sample not yet looked at.
    """
    fractions, jitter, side = bundle.fractions, bundle.jitter, scene.occupancy_side
    cells = np.float32(side)
    near, length = bundle.near[ray], bundle.far[ray] - bundle.near[ray]
    x0, y0, z0 = bundle.origins[ray, 0], bundle.origins[ray, 1], bundle.origins[ray, 2]
    x1, y1, z1 = bundle.directions[ray, 0], bundle.directions[ray, 1], bundle.directions[ray, 2]
    count, samples, middles = 0, len(fractions) - 1, len(jitter) == 0
    while index < samples and count < WIDTH:
        start, end = near + length * fractions[index], near + length * fractions[index + 1]
        t = HALF * (start + end) if middles else start + (end - start) * jitter[ray, index]
        x, y, z = x0 + x1 * t, y0 + y1 * t, z0 + z1 * t
        # Written in any case; the next sample takes the place of one that does not count.
        block[DISTANCE + count] = t
        block[LENGTH + count] = end - start
        block[X + count] = x
        block[Y + count] = y
        block[Z + count] = z
        count += scene.occupancy[(cell_of(z, cells) * side + cell_of(y, cells)) * side + cell_of(x, cells)]
        index += 1
    return count, index


# --- 3. Query ---


@compiled()
def lattice(coordinate: np.float32, cells: np.float32) -> tuple[np.float32, np.float32]:
    """Return the lower node along one axis and how far beyond it, in [0, 1], a coordinate lies; NaN is at node 0."""
    position = (coordinate + ONE) * HALF * cells
    position = position if position > ZERO else ZERO
    position = position if position < cells else cells
    low = np.float32(np.int32(position if position < cells - ONE else cells - ONE))
    return low, position - low


@compiled()
def locate(side: int, block: Floats, starts: Integers, width: int) -> None:
    """Write where each sample's lowest node starts in the grid and its shares in x, y and z, in place of x, y and z."""
    cells = np.float32(side - 1)
    for k in range(width):
        x, y, z = block[X + k], block[Y + k], block[Z + k]
        block[RADIUS + k] = np.sqrt(x * x + y * y + z * z)
        x, block[X + k] = lattice(x, cells)
        y, block[Y + k] = lattice(y, cells)
        z, block[Z + k] = lattice(z, cells)
        starts[k] = CHANNELS * ((np.int64(z) * side + np.int64(y)) * side + np.int64(x))


@compiled()
def interpolate(scene: Scene, block: Floats, starts: Integers, values: Floats, count: int) -> None:
    """Write the trilinear values of each sample."""
    apart = CHANNELS * scene.side, CHANNELS * scene.side * scene.side
    for k in range(count):
        gather(values, CHANNELS * k, scene.nodes, starts[k], apart, (block[X + k], block[Y + k], block[Z + k]))
    values[CHANNELS * count :] = ZERO


LOG2_E = np.float32(1.0 / math.log(2.0))
LN_2_HIGH, LN_2_LOW = np.float32(0.693359375), np.float32(math.log(2.0) - 0.693359375)
ROUND = np.float32(1.5 * 2.0**23)
BIAS = np.int32(127 << 23)
LEAST = np.float32(-87.0)
C3, C4, C5, C6, C7 = (np.float32(1.0 / math.factorial(n)) for n in (3, 4, 5, 6, 7))
A3, A5, A7, A9, A11, A13 = (np.float32(1.0 / n) for n in (3, 5, 7, 9, 11, 13))


@compiled()
def split_exp(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return 2^n and p with exp(x) = 2^n (1 + p) and |p| < 0.42, for x <= 0; below -87 is as -87.

    Adding 1.5 * 2^23 rounds to a whole number and leaves it in the lowest bits, from where it becomes the exponent.
    The Taylor series is good to the last bit on |x - n ln 2| <= ln 2 / 2.
    """
    x = LEAST if x < LEAST else x
    shifted = np.float32(x * LOG2_E + ROUND)
    n = shifted - ROUND
    scale = np.int32((shifted.view(np.int32) << np.int32(23)) + BIAS).view(np.float32)
    r = (x - n * LN_2_HIGH) - n * LN_2_LOW
    return scale, r + r * r * (HALF + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7)))))


@compiled()
def sigmoid(p: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-p)) without overflow."""
    scale, part = split_exp(-abs(p))
    u = scale + scale * part
    return (u if p < ZERO else ONE) / (ONE + u)


@compiled()
def decode(scene: Scene, block: Floats, values: Floats, width: int) -> None:
    """Write sigma, d sigma / d v_0 and c of each sample.

    With u = exp(-|p|): softplus(p) = max(p, 0) + log(1 + u), its slope is 1 / (1 + u) or u / (1 + u), and log(1 + u)
    = 2 artanh(s) with s = u / (2 + u) <= 1/3, a series of few terms.
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


# --- 4. Integrate ---


@compiled()
def weigh(block: Floats, count: int, width: int, light: np.float32) -> np.float32:
    """Write w = T alpha and the light that passes, T e, for each sample; return the light behind the last."""
    for k in range(width):
        scale, part = split_exp(-block[DENSITY + k] * block[LENGTH + k])
        block[WEIGHT + k] = (ONE - scale) - scale * part
        block[PASSED + k] = scale + scale * part
    for k in range(count):
        block[WEIGHT + k] *= light
        light *= block[PASSED + k]
        block[PASSED + k] = light
    return light


class Room(NamedTuple):
    """Room for the samples of one ray."""

    blocks: Floats
    """(b, BLOCK)"""
    counts: Integers
    """(b,) samples in each block."""
    starts: Integers
    """(b, WIDTH) where in the grid the lowest node of each sample starts."""
    values: Floats
    """(b, WIDTH * 4) v of each sample; then, on the way back, dL/dv."""


def make_room(bundle: Bundle) -> Room:
    """Return room for any ray of a bundle; every thread needs its own."""
    blocks = (len(bundle.fractions) - 1) // WIDTH + 1
    numbers, values = np.zeros((blocks, BLOCK), np.float32), np.zeros((blocks, WIDTH * CHANNELS), np.float32)
    return Room(numbers, np.zeros(blocks, np.int64), np.zeros((blocks, WIDTH), np.int64), values)


@compiled()
def march(scene: Scene, bundle: Bundle, ray: int, room: Room) -> int:
    """Fill blocks with the samples of a ray up to where no light is left; return their number.

    Work on whole rows goes on to their ends, beyond the samples that there are: a vector instruction costs the same.
    """
    index = int(np.int64(0))  # A literal 0 would be another type, and `sample` compiled for both.
    used, light = 0, ONE
    samples, width = len(bundle.fractions) - 1, room.starts.shape[1]
    while index < samples and not light <= DARK:
        block, starts, values = room.blocks[used], room.starts[used], room.values[used]
        count, index = sample(scene, bundle, ray, index, block)
        if count > 0:
            locate(scene.side, block, starts, width)
            interpolate(scene, block, starts, values, count)
            decode(scene, block, values, width)
            light = weigh(block, count, width, light)
            room.counts[used] = count
            used += 1
    return used


@compiled()
def integrate(scene: Scene, bundle: Bundle, turns: Integers, room: Room, out: Floats) -> None:
    """Write colour, opacity and depth into out (m, 5) for the rays whose turn it is, one after another."""
    for ray in turns:
        red, green, blue, opacity, depth = ZERO, ZERO, ZERO, ZERO, ZERO
        for used in range(march(scene, bundle, ray, room)):
            block = room.blocks[used]
            for k in range(room.counts[used]):
                weight = block[WEIGHT + k]
                red += weight * block[COLOUR + k]
                green += weight * block[COLOUR + WIDTH + k]
                blue += weight * block[COLOUR + 2 * WIDTH + k]
                opacity += weight
                depth += weight * block[DISTANCE + k]
        out[ray, 0], out[ray, 1], out[ray, 2], out[ray, 3], out[ray, 4] = red, green, blue, opacity, depth


# --- And back ---


@compiled()
def pull_back(scene: Scene, block: Floats, values: Floats, count: int, pull: Floats, behind: np.float32) -> np.float32:
    """Overwrite the values of a block with dL/dv; return sum w g.q from this block on, given that behind it."""
    mix, width = scene.mix, len(values) // CHANNELS
    g0, g1, g2, g3, g4 = pull[0], pull[1], pull[2], pull[3], pull[4]
    for k in range(width):
        red, green, blue = block[COLOUR + k], block[COLOUR + WIDTH + k], block[COLOUR + 2 * WIDTH + k]
        block[SEEN + k] = g0 * red + g1 * green + g2 * blue + g3 + g4 * block[DISTANCE + k]
    for i in range(count):
        k = count - 1 - i
        ahead = block[PASSED + k] * block[SEEN + k] - behind
        behind += block[WEIGHT + k] * block[SEEN + k]
        block[SEEN + k] = ahead
    for k in range(width):
        weight, red, green = block[WEIGHT + k], block[COLOUR + k], block[COLOUR + WIDTH + k]
        blue = block[COLOUR + 2 * WIDTH + k]
        red, green = weight * g0 * red * (ONE - red), weight * g1 * green * (ONE - green)
        blue = weight * g2 * blue * (ONE - blue)
        values[CHANNELS * k] = block[SEEN + k] * block[LENGTH + k] * block[SLOPE + k]
        values[CHANNELS * k + 1] = mix[0] * red + mix[3] * green + mix[6] * blue
        values[CHANNELS * k + 2] = mix[1] * red + mix[4] * green + mix[7] * blue
        values[CHANNELS * k + 3] = mix[2] * red + mix[5] * green + mix[8] * blue
    return behind


@compiled()
def distribute(side: int, block: Floats, starts: Integers, values: Floats, count: int, gradient: Floats) -> None:
    """Add dL/dv of each sample to the gradient of its 8 nodes: `interpolate` the other way."""
    apart = CHANNELS * side, CHANNELS * side * side
    for k in range(count):
        scatter(values, CHANNELS * k, gradient, starts[k], apart, (block[X + k], block[Y + k], block[Z + k]))


@compiled()
def differentiate(scene: Scene, bundle: Bundle, turns: Integers, room: Room, pulls: Floats, gradient: Floats) -> None:
    """Add to the gradient of the nodes what the rays whose turn it is give for pulls g (m, 5) on their pixels.

    Each ray is marched again, which costs no more than to keep all samples until now.
    """
    for ray in turns:
        behind = ZERO
        used = march(scene, bundle, ray, room)
        while used > 0:
            used -= 1
            block, starts, values = room.blocks[used], room.starts[used], room.values[used]
            count = room.counts[used]
            behind = pull_back(scene, block, values, count, pulls[ray], behind)
            distribute(scene.side, block, starts, values, count, gradient)
