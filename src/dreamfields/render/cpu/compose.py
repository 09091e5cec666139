"""Views over backgrounds, augmented, as compiled loops: `render.compose.compose_views` and its VJP.

Notation: v views and b images of h x h pixels, image i shows view i mod v; out (b, 3, s, s); d = dL/d out. Arrays of
pixels are flat. Threads share the images, in the backward pass the views.
"""

from typing import NamedTuple

import numpy as np

from dreamfields.cpu import Floats, Indices
from dreamfields.cpu.compiled import HALF, ONE, TWO, ZERO, compiled
from dreamfields.render.cpu import CHANNELS, AugmentParams, Views
from dreamfields.render.cpu.vectors import gather, scatter

THIRD, MIDDLE = np.float32(1.0 / 3.0), np.float32(127.5)


class Scratch(NamedTuple):
    """Memory for the work on one image; each thread needs its own."""

    nodes: Indices  # (s,) for each pixel of a line, the pixel above and left of its place in the image
    right: Floats
    down: Floats  # (s,) the distances of its place from that pixel, in [0, 1]
    colours: Floats  # (3 * s,) dL/d colours of a line of pixels
    line: Floats  # (s * 4,) a line of pixels or dL/d that, with the channels of a pixel side by side, the fourth unused
    sums: Floats  # (s,) of each column: a sum of so many numbers at once does not wait for itself
    composed: Floats  # (h * h * 4,) a view over a background, or dL/d that, with channels as in `line`


def make_scratch(side: int, size: int) -> Scratch:
    """Return memory for images of h = side pixels a side that become s = size."""
    sizes = size, size, 3 * size, CHANNELS * size, size, CHANNELS * side * side
    return Scratch(np.empty(size, np.int32), *(np.zeros(count, np.float32) for count in sizes))


@compiled()
def mirrored(position: np.float32, width: np.float32) -> np.float32:
    """Return a position in pixels mirrored at the image's borders until it is inside, without a branch to vectorise."""
    away = abs(position + HALF)
    turns = np.floor(away / width)
    rest = away - turns * width
    odd = turns - TWO * np.floor(HALF * turns)
    position = (rest if odd == ZERO else width - rest) - HALF
    position = position if position > ZERO else ZERO
    return position if position < width - ONE else width - ONE


@compiled()
def locate(params: AugmentParams, image: int, row: int, scratch: Scratch) -> None:
    """Write the place in the image of each pixel of a line of its augmented image."""
    nodes, right, down = scratch.nodes, scratch.right, scratch.down
    side, size, theta = params.side, params.size, params.theta
    scale, half, last = np.float32(side), HALF * np.float32(side) - HALF, np.int32(side - 2)
    y = np.float32(2 * row + 1) / np.float32(size) - ONE
    for column in range(size):
        x = np.float32(2 * column + 1) / np.float32(size) - ONE
        across = theta[image, 0] * x + theta[image, 1] * y + theta[image, 2]
        along = theta[image, 3] * x + theta[image, 4] * y + theta[image, 5]
        across = mirrored(HALF * scale * across + half, scale)
        along = mirrored(HALF * scale * along + half, scale)
        # The last pixel has none to its right: it counts as distance 1 from the one before it.
        left, top = min(np.int32(across), last), min(np.int32(along), last)
        nodes[column] = top * np.int32(side) + left
        right[column] = across - np.float32(left)
        down[column] = along - np.float32(top)


@compiled()
def compose(views: Views, image: int, composed: Floats) -> None:
    """Write a view over the background of an image: colour + (1 - opacity) background."""
    pixels = len(composed) // CHANNELS
    first = image % (len(views.opacity) // pixels) * pixels
    seen = views.opacity[first : first + pixels]
    for channel in range(3):
        behind = views.backgrounds[(3 * image + channel) * pixels : (3 * image + channel + 1) * pixels]
        own = views.colour[channel][first : first + pixels]
        for i in range(pixels):
            composed[CHANNELS * i + channel] = own[i] + (ONE - seen[i]) * behind[i]


@compiled()
def augment(params: AugmentParams, views: Views, out: Floats, first: int, last: int, scratch: Scratch) -> None:
    """Write the augmented images from `first` to before `last`."""
    size, nodes, line, sums = params.size, scratch.nodes, scratch.line, scratch.sums
    row_of_nodes, area = (CHANNELS * params.side,), size * size
    for image in range(first, last):
        compose(views, image, scratch.composed)
        sums[:] = ZERO
        for row in range(size):
            locate(params, image, row, scratch)
            for i in range(size):
                place = scratch.right[i], scratch.down[i]
                gather(line, CHANNELS * i, scratch.composed, CHANNELS * int(nodes[i]), row_of_nodes, place)
            for channel in range(3):
                start = (3 * image + channel) * area + row * size
                target = out[start : start + size]
                for i in range(size):
                    target[i] = line[CHANNELS * i + channel]
                    sums[i] += target[i]
        recolour(params, image, total(sums) / np.float32(3 * area), out)


@compiled()
def total(numbers: Floats) -> np.float32:
    """Return the sum of numbers."""
    found = ZERO
    for number in numbers:
        found += number
    return found


@compiled()
def recolour(params: AugmentParams, image: int, mean: np.float32, out: Floats) -> None:
    """Change saturation, contrast and brightness of one image, add its noise and clip it."""
    saturation, contrast, brightness = params.tone[image, 0], params.tone[image, 1], params.tone[image, 2]
    offset, area = (ONE - contrast) * mean + brightness, params.size * params.size
    start = 3 * image * area
    own, grain = out[start : start + 3 * area], params.grain[start : start + 3 * area]
    red, green, blue = own[:area], own[area : 2 * area], own[2 * area :]
    for i in range(area):
        grey = THIRD * (red[i] + green[i] + blue[i])
        base, factor = offset + contrast * (ONE - saturation) * grey, contrast * saturation
        red[i] = clipped(base + factor * red[i] + params.level * (np.float32(grain[i]) - MIDDLE))
        green[i] = clipped(base + factor * green[i] + params.level * (np.float32(grain[area + i]) - MIDDLE))
        blue[i] = clipped(base + factor * blue[i] + params.level * (np.float32(grain[2 * area + i]) - MIDDLE))


@compiled()
def clipped(value: np.float32) -> np.float32:
    """Return a value clipped to [0, 1]; NaN stays NaN."""
    value = ZERO if value < ZERO else value
    return ONE if value > ONE else value


@compiled()
def unclipped(grad: np.float32, value: np.float32) -> np.float32:
    """Return dL/d value before it was clipped: 0 where it was."""
    return grad if ZERO < value < ONE else ZERO


@compiled()
def vjp(
    params: AugmentParams, views: Views, out: Floats, grad: Floats, into: Views, first: int, last: int, scratch: Scratch
) -> None:
    """Write dL/d colour and opacity of the views from `first` to before `last`, given d of all images."""
    pixels = params.side * params.side
    count = len(views.opacity) // pixels
    for view in range(first, last):
        start = view * pixels
        into.colour[:, start : start + pixels] = ZERO
        into.opacity[start : start + pixels] = ZERO
        for image in range(view, len(params.tone), count):
            scratch.composed[:] = ZERO
            image_vjp(params, image, out, grad, scratch)
            for channel in range(3):
                behind = views.backgrounds[(3 * image + channel) * pixels : (3 * image + channel + 1) * pixels]
                own, seen = into.colour[channel][start : start + pixels], into.opacity[start : start + pixels]
                for i in range(pixels):
                    image_grad = scratch.composed[CHANNELS * i + channel]
                    own[i] += image_grad
                    seen[i] -= image_grad * behind[i]


@compiled()
def image_vjp(params: AugmentParams, image: int, out: Floats, grads: Floats, scratch: Scratch) -> None:
    """Add dL/d composed of one image to `scratch.composed`."""
    size, nodes, colours, line, sums = params.size, scratch.nodes, scratch.colours, scratch.line, scratch.sums
    row_of_nodes, area = (CHANNELS * params.side,), size * size
    saturation, contrast = params.tone[image, 0], params.tone[image, 1]
    # Loops over views of arrays from 0 on: only those become vector instructions.
    start = 3 * image * area
    sums[:] = ZERO
    for row in range(3 * size):
        here = start + row * size
        grad, value = grads[here : here + size], out[here : here + size]
        for i in range(size):
            sums[i] += unclipped(grad[i], value[i])
    # out = (1 - contrast) mean + contrast saturated + ..., where mean is that of all saturated pixels.
    everywhere = (ONE - contrast) * total(sums) / np.float32(3 * area)
    red, green, blue = colours[:size], colours[size : 2 * size], colours[2 * size :]
    for row in range(size):
        locate(params, image, row, scratch)
        for channel in range(3):
            here, colour = start + channel * area + row * size, colours[channel * size : (channel + 1) * size]
            grad, value = grads[here : here + size], out[here : here + size]
            for i in range(size):
                colour[i] = everywhere + contrast * unclipped(grad[i], value[i])
        for i in range(size):
            grey = (ONE - saturation) * THIRD * (red[i] + green[i] + blue[i])
            red[i] = grey + saturation * red[i]
            green[i] = grey + saturation * green[i]
            blue[i] = grey + saturation * blue[i]
        for i in range(size):
            line[CHANNELS * i], line[CHANNELS * i + 1], line[CHANNELS * i + 2] = red[i], green[i], blue[i]
        for i in range(size):
            place = scratch.right[i], scratch.down[i]
            scatter(line, CHANNELS * i, scratch.composed, CHANNELS * int(nodes[i]), row_of_nodes, place)
