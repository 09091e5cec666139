"""The voxel field's rendering as compiled loops over plain arrays: the clauses of `renderer.render_rays`, ray by ray.

One pass over a ray keeps every sample in the fastest memory, asks only occupied cells and stops where no light is
left, which the reference cannot. Nothing here knows torch; `fused` makes a differentiable function of it. The loops
run without the interpreter's lock, in any number of threads of the caller's: a thread writes only to what it is given.

Notation, as in `volume` and `fields.voxels`: t distances, delta lengths, sigma densities, c colours, w weights, T light
that is left; v the 4 grid values at a sample; per ray out = sum_i w_i q_i with q = (c, 1, t), and g = dL/d out. Then,
with e_i = exp(-sigma_i delta_i),

    dL/d sigma_i = delta_i (T_i e_i g.q_i - sum_{j>i} w_j g.q_j),    dL/d c_i = w_i g_c.

The samples of a ray lie in blocks of `BLOCK`; a block is a run of rows of `BLOCK` numbers, one row a quantity, so that
the loops over a block become vector instructions. All numbers are float32, constants too: one float64 would drag its
whole expression along. Everything compiled is in this one file, as the cache on disk looks at no other.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Function = TypeVar("Function", bound=Callable[..., Any])


class Scene(NamedTuple):
    """One fixed state of a voxel field, and where it is worth asking."""

    nodes: Floats
    """((n+1)^3 * 4,) grid values, from slow to fast: z, y, x, channel."""
    side: int
    """Nodes a side, n + 1."""
    occupancy: NDArray[np.bool_]
    """(k, k, k) cells that may hold density, indexed [z, y, x]."""
    density_scale: np.float32
    density_gain: np.float32
    blob_strength: np.float32
    blob_offset: np.float32
    mix: Floats
    """(9,) k C, row by row: colour pre-activations from decorrelated values."""


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


class Part(NamedTuple):
    """The rays that one thread takes: every `step`-th run of `RUN` rays from number `first` on.

    Runs keep neighbours together, whose samples share cells; taking turns gives all threads much the same work.
    """

    first: int
    step: int


RUN = 32
BLOCK = 16

# The rows of a block.
DISTANCE, LENGTH, X, Y, Z, VALUE = 0, 1, 2, 3, 4, 5
DENSITY, SLOPE, COLOUR = 9, 10, 11
WEIGHT, PASSED = 14, 15
BLOCK_SIZE = 16 * BLOCK

ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)

DARK = np.float32(2.0**-23)
"""Light below which a ray stops: all that is behind changes an opacity of 1 by less than its last bit."""


def compiled(fuse: bool = True) -> Callable[[Function], Function]:
    """Compile a function and keep the code on disk.

    Products and sums may be fused, which rounds once instead of twice; nothing else is left to the compiler, so that
    infinities and NaN behave as they do in torch. Without `fuse` the result has the very bits of torch's.
    """
    fastmath: bool | set[str] = {"contract"} if fuse else False

    def decorate(function: Function) -> Function:
        try:
            keep = njit(nogil=True, error_model="numpy", fastmath=fastmath, cache=True)
            return cast(Function, keep(function))
        except RuntimeError:  # There is no folder to keep it in.
            return cast(Function, njit(nogil=True, error_model="numpy", fastmath=fastmath)(function))

    return decorate


# --- 1. Intersect: done by the caller, as it is for the reference. ---


# --- 2. Sample ---


@compiled(fuse=False)
def place(bundle: Bundle, ray: int, index: int) -> tuple[np.float32, np.float32]:
    """Return t and delta of one sample, to the bit as `sampling` has them: another cell would be another picture."""
    near, far = np.float32(bundle.near[ray]), np.float32(bundle.far[ray])
    start = near + (far - near) * bundle.fractions[index]
    end = near + (far - near) * bundle.fractions[index + 1]
    length = end - start
    if len(bundle.jitter) == 0:
        return HALF * (start + end), length
    return start + length * bundle.jitter[ray, index], length


@compiled(fuse=False)
def locate(bundle: Bundle, ray: int, distance: np.float32, axis: int) -> np.float32:
    """Return one coordinate of o + t d, to the bit as `Rays.at` has it."""
    coordinate: np.float32 = bundle.origins[ray, axis] + bundle.directions[ray, axis] * distance
    return coordinate


@compiled(fuse=False)
def cell_of(coordinate: np.float32, cells: int) -> int:
    """Return the index of the cell along one axis, as `occupancy.is_occupied` does; safe for NaN."""
    position = (coordinate + ONE) * (HALF * np.float32(cells))
    if not position > ZERO:
        return 0
    return int(min(position, np.float32(cells - 1)))


@compiled()
def sample(scene: Scene, bundle: Bundle, ray: int, index: int, block: Floats) -> tuple[int, int]:
    """Fill a block with the samples in occupied cells from number `index` on.

    Returns the number of samples in the block, and that of the first sample not yet looked at.
    """
    cells, samples = scene.occupancy.shape[0], len(bundle.fractions) - 1
    count = 0
    while index < samples and count < BLOCK:
        distance, length = place(bundle, ray, index)
        x = locate(bundle, ray, distance, 0)
        y = locate(bundle, ray, distance, 1)
        z = locate(bundle, ray, distance, 2)
        index += 1
        if scene.occupancy[cell_of(z, cells), cell_of(y, cells), cell_of(x, cells)]:
            block[DISTANCE * BLOCK + count] = distance
            block[LENGTH * BLOCK + count] = length
            block[X * BLOCK + count] = x
            block[Y * BLOCK + count] = y
            block[Z * BLOCK + count] = z
            count += 1
    return count, index


# --- 3. Query ---


@compiled()
def lattice(coordinate: np.float32, side: int) -> tuple[int, np.float32]:
    """Return the lower node along one axis and how far beyond it, in [0, 1], a coordinate lies; safe for NaN."""
    position = (coordinate + ONE) * HALF * np.float32(side - 1)
    if not position > ZERO:
        return 0, ZERO
    low = int(min(position, np.float32(side - 2)))
    return low, min(position - np.float32(low), ONE)


@compiled()
def corners(scene: Scene, block: Floats, k: int) -> tuple[int, np.float32, np.float32, np.float32]:
    """Return where a sample's lowest node starts in `nodes`, and the sample's shares in x, y and z."""
    x, right = lattice(block[X * BLOCK + k], scene.side)
    y, up = lattice(block[Y * BLOCK + k], scene.side)
    z, front = lattice(block[Z * BLOCK + k], scene.side)
    return 4 * ((z * scene.side + y) * scene.side + x), right, up, front


@compiled()
def interpolate(scene: Scene, block: Floats, count: int) -> None:
    """Write the trilinear values of each sample: 8 nodes in 4 pairs that are neighbours in x."""
    nodes, row, layer = scene.nodes, 4 * scene.side, 4 * scene.side * scene.side
    for k in range(count):
        start, right, up, front = corners(scene, block, k)
        for channel in range(4):
            i = start + channel
            low = (ONE - right) * nodes[i] + right * nodes[i + 4]
            high = (ONE - right) * nodes[i + row] + right * nodes[i + row + 4]
            back = (ONE - up) * low + up * high
            i += layer
            low = (ONE - right) * nodes[i] + right * nodes[i + 4]
            high = (ONE - right) * nodes[i + row] + right * nodes[i + row + 4]
            block[(VALUE + channel) * BLOCK + k] = (ONE - front) * back + front * ((ONE - up) * low + up * high)


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
def decode(scene: Scene, block: Floats, count: int) -> None:
    """Write sigma, d sigma / d v_0 and c of each sample.

    With u = exp(-|p|): softplus(p) = max(p, 0) + log(1 + u), its slope is 1 / (1 + u) or u / (1 + u), and log(1 + u)
    = 2 artanh(s) with s = u / (2 + u) <= 1/3, a series of few terms.
    """
    mix = scene.mix
    for k in range(count):
        x, y, z = block[X * BLOCK + k], block[Y * BLOCK + k], block[Z * BLOCK + k]
        blob = scene.blob_strength * (ONE - TWO * np.sqrt(x * x + y * y + z * z)) + scene.blob_offset
        p = scene.density_gain * block[VALUE * BLOCK + k] + blob
        scale, part = split_exp(-abs(p))
        u = scale + scale * part
        s = u / (TWO + u)
        q = s * s
        log = TWO * s * (ONE + q * (A3 + q * (A5 + q * (A7 + q * (A9 + q * (A11 + q * A13))))))
        block[DENSITY * BLOCK + k] = scene.density_scale * ((ZERO if p < ZERO else p) + log)
        block[SLOPE * BLOCK + k] = scene.density_scale * scene.density_gain * (u if p < ZERO else ONE) / (ONE + u)
        a, b, c = block[(VALUE + 1) * BLOCK + k], block[(VALUE + 2) * BLOCK + k], block[(VALUE + 3) * BLOCK + k]
        block[COLOUR * BLOCK + k] = sigmoid(mix[0] * a + mix[1] * b + mix[2] * c)
        block[(COLOUR + 1) * BLOCK + k] = sigmoid(mix[3] * a + mix[4] * b + mix[5] * c)
        block[(COLOUR + 2) * BLOCK + k] = sigmoid(mix[6] * a + mix[7] * b + mix[8] * c)


@compiled()
def sigmoid(p: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-p)) without overflow."""
    scale, part = split_exp(-abs(p))
    u = scale + scale * part
    return (u if p < ZERO else ONE) / (ONE + u)


# --- 4. Integrate ---


@compiled()
def weigh(block: Floats, count: int, light: np.float32) -> np.float32:
    """Write w = T alpha and the light that passes, T e, for each sample; return the light behind the last."""
    for k in range(count):
        scale, part = split_exp(-block[DENSITY * BLOCK + k] * block[LENGTH * BLOCK + k])
        block[WEIGHT * BLOCK + k] = (ONE - scale) - scale * part
        block[PASSED * BLOCK + k] = scale + scale * part
    for k in range(count):
        block[WEIGHT * BLOCK + k] *= light
        light *= block[PASSED * BLOCK + k]
        block[PASSED * BLOCK + k] = light
    return light


@compiled()
def march(scene: Scene, bundle: Bundle, ray: int, blocks: Floats, counts: NDArray[np.int64]) -> int:
    """Fill blocks with the samples of a ray up to where no light is left; return their number."""
    samples = len(bundle.fractions) - 1
    index, used, light = 0, 0, ONE
    while index < samples and not light < DARK:
        block = blocks[used * BLOCK_SIZE : (used + 1) * BLOCK_SIZE]
        count, index = sample(scene, bundle, ray, index, block)
        interpolate(scene, block, count)
        decode(scene, block, count)
        light = weigh(block, count, light)
        counts[used] = count
        used += 1
    return used


@compiled()
def scratch(bundle: Bundle) -> tuple[Floats, NDArray[np.int64]]:
    """Return room for the blocks of one ray, and for how many samples each holds."""
    blocks = (len(bundle.fractions) + BLOCK) // BLOCK
    return np.zeros(blocks * BLOCK_SIZE, np.float32), np.zeros(blocks, np.int64)


@compiled()
def integrate(scene: Scene, bundle: Bundle, part: Part, out: Floats) -> None:
    """Write colour, opacity and depth of this part's rays into out (m, 5)."""
    blocks, counts = scratch(bundle)
    rays = len(bundle.near)
    for start in range(part.first * RUN, rays, part.step * RUN):
        for ray in range(start, min(start + RUN, rays)):
            red, green, blue, opacity, depth = ZERO, ZERO, ZERO, ZERO, ZERO
            for used in range(march(scene, bundle, ray, blocks, counts)):
                block = blocks[used * BLOCK_SIZE : (used + 1) * BLOCK_SIZE]
                for k in range(counts[used]):
                    weight = block[WEIGHT * BLOCK + k]
                    red += weight * block[COLOUR * BLOCK + k]
                    green += weight * block[(COLOUR + 1) * BLOCK + k]
                    blue += weight * block[(COLOUR + 2) * BLOCK + k]
                    opacity += weight
                    depth += weight * block[DISTANCE * BLOCK + k]
            out[ray, 0], out[ray, 1], out[ray, 2], out[ray, 3], out[ray, 4] = red, green, blue, opacity, depth


# --- And back ---


@compiled()
def pull_back(scene: Scene, block: Floats, count: int, pull: Floats, behind: np.float32) -> np.float32:
    """Overwrite the values v of a block with dL/dv; return sum w g.q from this block on, given that behind it."""
    mix = scene.mix
    for i in range(count):
        k = count - 1 - i
        weight = block[WEIGHT * BLOCK + k]
        red, green, blue = block[COLOUR * BLOCK + k], block[(COLOUR + 1) * BLOCK + k], block[(COLOUR + 2) * BLOCK + k]
        seen = pull[0] * red + pull[1] * green + pull[2] * blue + pull[3] + pull[4] * block[DISTANCE * BLOCK + k]
        to_density = block[LENGTH * BLOCK + k] * (block[PASSED * BLOCK + k] * seen - behind)
        behind += weight * seen
        block[VALUE * BLOCK + k] = to_density * block[SLOPE * BLOCK + k]
        red = weight * pull[0] * red * (ONE - red)
        green = weight * pull[1] * green * (ONE - green)
        blue = weight * pull[2] * blue * (ONE - blue)
        block[(VALUE + 1) * BLOCK + k] = mix[0] * red + mix[3] * green + mix[6] * blue
        block[(VALUE + 2) * BLOCK + k] = mix[1] * red + mix[4] * green + mix[7] * blue
        block[(VALUE + 3) * BLOCK + k] = mix[2] * red + mix[5] * green + mix[8] * blue
    return behind


@compiled()
def scatter(scene: Scene, block: Floats, count: int, gradient: Floats) -> None:
    """Add dL/dv of each sample to the gradient of its 8 nodes."""
    row, layer = 4 * scene.side, 4 * scene.side * scene.side
    for k in range(count):
        start, right, up, front = corners(scene, block, k)
        for offset, share in (
            (0, (ONE - front) * (ONE - up)),
            (row, (ONE - front) * up),
            (layer, front * (ONE - up)),
            (layer + row, front * up),
        ):
            for channel in range(4):
                value = share * block[(VALUE + channel) * BLOCK + k]
                gradient[start + offset + channel] += (ONE - right) * value
                gradient[start + offset + channel + 4] += right * value


@compiled()
def differentiate(scene: Scene, bundle: Bundle, part: Part, pulls: Floats, gradient: Floats) -> None:
    """Add to the gradient of the nodes what this part's rays give, for pulls g (m, 5) on their pixels.

    Each ray is marched again, which costs less than it would to keep all its samples until now.
    """
    blocks, counts = scratch(bundle)
    rays = len(bundle.near)
    for start in range(part.first * RUN, rays, part.step * RUN):
        for ray in range(start, min(start + RUN, rays)):
            behind = ZERO
            used = march(scene, bundle, ray, blocks, counts)
            while used > 0:
                used -= 1
                block = blocks[used * BLOCK_SIZE : (used + 1) * BLOCK_SIZE]
                behind = pull_back(scene, block, counts[used], pulls[ray], behind)
                scatter(scene, block, counts[used], gradient)
