"""Views composed with backgrounds and augmented, as compiled loops: `render.compose.compose_views` and its VJP.

Notation: v views and b pictures of h x h pixels, picture p shows view p mod v; out (b, 3, s, s); d = dL/d out. Arrays
of pixels are flat. Each view, and so each picture, is one thread's alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dreamfields.render.cpu.compiled import Floats, compiled

ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
THIRD = np.float32(1.0 / 3.0)
MIDDLE = np.float32(127.5)


class AugmentParams(NamedTuple):
    """How pictures are varied."""

    side: int
    """Pixels a side of the pictures that go in."""
    size: int
    """Pixels a side of those that come out."""
    theta: Floats
    """(b, 6) where in a picture its varied one looks, row by row."""
    tone: Floats
    """(b, 3) saturation, contrast and brightness."""
    grain: NDArray[np.uint8]
    """(b * 3 * s * s,) noise, from 0 to 255,"""
    level: np.float32
    """and what one step of it changes."""


class Views(NamedTuple):
    """What is seen, and what lies behind it; or the gradients of both."""

    colour: Floats
    """(3, v * h * h) premultiplied by opacity."""
    opacity: Floats
    """(v * h * h,)"""
    backgrounds: Floats
    """(b * 3 * h * h,)"""


class Scratch(NamedTuple):
    """Room for the work on one picture; every thread needs its own."""

    nodes: NDArray[np.int32]
    """(s,) for each pixel of a row the pixel above and left of where it looks,"""
    right: Floats
    """(s,) how far beyond it that is in x,"""
    down: Floats
    """(s,) and in y."""
    colours: Floats
    """(3 * s,) pulls on a row of pixels."""
    composed: Floats
    """(3 * h * h,) a view over a background, or the pull on that."""


def make_scratch(side: int, size: int) -> Scratch:
    """Return room for pictures of some size."""
    rows = np.empty(5 * size, np.float32)
    nodes, composed = np.empty(size, np.int32), np.empty(3 * side * side, np.float32)
    return Scratch(nodes, rows[:size], rows[size : 2 * size], rows[2 * size :], composed)


@compiled()
def mirrored(position: np.float32, width: np.float32) -> np.float32:
    """Return where a position in pixels, mirrored at the picture's borders as often as it takes, comes to lie.

    Without a branch, so that a row of pixels becomes vector instructions.
    """
    away = abs(position + HALF)
    turns = np.floor(away / width)
    rest = away - turns * width
    odd = turns - TWO * np.floor(HALF * turns)
    position = (rest if odd == ZERO else width - rest) - HALF
    position = position if position > ZERO else ZERO
    return position if position < width - ONE else width - ONE


@compiled()
def locate(
    params: AugmentParams, picture: int, row: int, nodes: NDArray[np.int32], right: Floats, down: Floats
) -> None:
    """Write where each pixel of a row looks: the pixel above and left of that place, and how far beyond it."""
    side, size, theta = params.side, params.size, params.theta
    scale, half, last = np.float32(side), HALF * np.float32(side) - HALF, np.int32(side - 2)
    y = np.float32(2 * row + 1) / np.float32(size) - ONE
    for column in range(size):
        x = np.float32(2 * column + 1) / np.float32(size) - ONE
        across = theta[picture, 0] * x + theta[picture, 1] * y + theta[picture, 2]
        along = theta[picture, 3] * x + theta[picture, 4] * y + theta[picture, 5]
        across = mirrored(HALF * scale * across + half, scale)
        along = mirrored(HALF * scale * along + half, scale)
        # The last pixel has none to its right; the share of that one is 0, of the one before it 1.
        left, top = min(np.int32(across), last), min(np.int32(along), last)
        nodes[column] = top * np.int32(side) + left
        right[column] = across - np.float32(left)
        down[column] = along - np.float32(top)


@compiled()
def compose(views: Views, picture: int, composed: Floats) -> None:
    """Write a view over the background of a picture: colour + (1 - opacity) background."""
    colour, opacity, backgrounds = views.colour, views.opacity, views.backgrounds
    pixels = len(composed) // 3
    first = picture % (len(opacity) // pixels) * pixels
    for channel in range(3):
        behind = backgrounds[(3 * picture + channel) * pixels : (3 * picture + channel + 1) * pixels]
        own, seen = colour[channel][first : first + pixels], opacity[first : first + pixels]
        target = composed[channel * pixels : (channel + 1) * pixels]
        for i in range(pixels):
            target[i] = own[i] + (ONE - seen[i]) * behind[i]


@compiled()
def augment(params: AugmentParams, views: Views, first: int, last: int, scratch: Scratch, out: Floats) -> None:
    """Write varied pictures, from `first` to before `last`."""
    side, size, nodes, right, down = params.side, params.size, scratch.nodes, scratch.right, scratch.down
    pixels, varied = side * side, size * size
    for picture in range(first, last):
        compose(views, picture, scratch.composed)
        total = ZERO
        for row in range(size):
            locate(params, picture, row, nodes, right, down)
            for channel in range(3):
                source = scratch.composed[channel * pixels : (channel + 1) * pixels]
                start = (3 * picture + channel) * varied + row * size
                target = out[start : start + size]
                for column in range(size):
                    node, u, v = nodes[column], right[column], down[column]
                    a, b, c, d = source[node], source[node + 1], source[node + side], source[node + side + 1]
                    above, below = a + u * (b - a), c + u * (d - c)
                    target[column] = above + v * (below - above)
                subtotal = ZERO
                for column in range(size):
                    subtotal += target[column]
                total += subtotal
        recolour(params, picture, total / np.float32(3 * varied), out)


@compiled()
def recolour(params: AugmentParams, picture: int, mean: np.float32, out: Floats) -> None:
    """Change saturation, contrast and brightness of one picture, add its noise and clip it."""
    saturation, contrast, brightness = params.tone[picture, 0], params.tone[picture, 1], params.tone[picture, 2]
    offset, varied = (ONE - contrast) * mean + brightness, params.size * params.size
    start = 3 * picture * varied
    red, green, blue = (
        out[start : start + varied],
        out[start + varied : start + 2 * varied],
        out[start + 2 * varied : start + 3 * varied],
    )
    grain = params.grain[start : start + 3 * varied]
    for i in range(varied):
        grey = THIRD * (red[i] + green[i] + blue[i])
        base, factor = offset + contrast * (ONE - saturation) * grey, contrast * saturation
        red[i] = clipped(base + factor * red[i] + params.level * (np.float32(grain[i]) - MIDDLE))
        green[i] = clipped(base + factor * green[i] + params.level * (np.float32(grain[varied + i]) - MIDDLE))
        blue[i] = clipped(base + factor * blue[i] + params.level * (np.float32(grain[2 * varied + i]) - MIDDLE))


@compiled()
def clipped(value: np.float32) -> np.float32:
    """Return a value, at least 0 and at most 1; NaN stays NaN."""
    value = ZERO if value < ZERO else value
    return ONE if value > ONE else value


@compiled()
def unclipped(grad: np.float32, value: np.float32) -> np.float32:
    """Return a pull on a value, or 0 where the value was clipped."""
    return grad if ZERO < value < ONE else ZERO


@compiled()
def vjp(
    params: AugmentParams,
    views: Views,
    out: Floats,
    grads: Floats,
    first: int,
    last: int,
    scratch: Scratch,
    gradients: Views,
) -> None:
    """Write dL/d colour and opacity of views, from `first` to before `last`, given d = dL/d out of all pictures.

    A value that was clipped has no pull. The pictures of a view are those it was put on a background for.
    """
    pixels = params.side * params.side
    count, pictures = len(views.opacity) // pixels, len(params.tone)
    for view in range(first, last):
        start = view * pixels
        gradients.colour[:, start : start + pixels] = ZERO
        gradients.opacity[start : start + pixels] = ZERO
        for picture in range(view, pictures, count):
            scratch.composed[:] = ZERO
            image_vjp(params, picture, out, grads, scratch)
            for channel in range(3):
                image_grad = scratch.composed[channel * pixels : (channel + 1) * pixels]
                behind = views.backgrounds[(3 * picture + channel) * pixels : (3 * picture + channel + 1) * pixels]
                own = gradients.colour[channel][start : start + pixels]
                seen = gradients.opacity[start : start + pixels]
                for i in range(pixels):
                    own[i] += image_grad[i]
                    seen[i] -= image_grad[i] * behind[i]


@compiled()
def image_vjp(params: AugmentParams, picture: int, out: Floats, grads: Floats, scratch: Scratch) -> None:
    """Add dL/d composed for one picture to the room's."""
    side, size, nodes, right, down, colours = (
        params.side,
        params.size,
        scratch.nodes,
        scratch.right,
        scratch.down,
        scratch.colours,
    )
    pixels, varied = side * side, size * size
    saturation, contrast = params.tone[picture, 0], params.tone[picture, 1]
    # Parts of arrays that begin at 0 are what the compiler makes vector instructions for.
    start, total = 3 * picture * varied, ZERO
    for row in range(3 * size):
        here = start + row * size
        grad, value, subtotal = grads[here : here + size], out[here : here + size], ZERO
        for i in range(size):
            colours[i] = unclipped(grad[i], value[i])
        for i in range(size):
            subtotal += colours[i]
        total += subtotal
    # out = (1 - contrast) mean + contrast saturated + ..., and the mean is that of the saturated pixels, too.
    everywhere = (ONE - contrast) * total / np.float32(3 * varied)
    red, green, blue = colours[:size], colours[size : 2 * size], colours[2 * size :]
    for row in range(size):
        locate(params, picture, row, nodes, right, down)
        for channel in range(3):
            here, colour = start + channel * varied + row * size, colours[channel * size : (channel + 1) * size]
            grad, value = grads[here : here + size], out[here : here + size]
            for i in range(size):
                colour[i] = everywhere + contrast * unclipped(grad[i], value[i])
        for i in range(size):
            grey = (ONE - saturation) * THIRD * (red[i] + green[i] + blue[i])
            red[i] = grey + saturation * red[i]
            green[i] = grey + saturation * green[i]
            blue[i] = grey + saturation * blue[i]
        for channel in range(3):
            plane = scratch.composed[channel * pixels : (channel + 1) * pixels]
            for column in range(size):
                node, u, part = nodes[column], right[column], colours[channel * size + column]
                below = down[column] * part
                above = part - below
                plane[node] += above - u * above
                plane[node + 1] += u * above
                plane[node + side] += below - u * below
                plane[node + side + 1] += u * below
