"""The layers of a tower as compiled loops, forward and backward.

Notation as in `lit.frozen`: activations are (images, height, width, channels) as flat arrays; d = dL/d activations.
Images are rotated by 180 degrees, so that "same" padding is (kernel - 1) / 2 above and to the left.
"""

import numpy as np

from dreamfields.cpu import Bytes, Floats
from dreamfields.cpu.compiled import ZERO, compiled
from dreamfields.guidance.cpu import (
    ADD,
    LANES,
    PLAIN,
    STEM,
    TILE,
    Band,
    Block,
    Depthwise,
    Matrix,
    Scratch,
    Shape,
    Tape,
    vectors,
)
from dreamfields.guidance.lit.frozen import CENTRE, HALF_RANGE, LEVELS

_LEVELS, _CENTRE, _HALF_RANGE = map(np.float32, (LEVELS, CENTRE, HALF_RANGE))
_ROWS_AT_ONCE = 96  # Positions whose activations stay in fast memory while all weights pass by
_CHANNELS_AT_ONCE = 64  # Channels of a depthwise convolution whose weights stay in fast memory along a line


@compiled()
def product(matrix: Matrix, rows: int, values: Floats, out: Floats, mode: int, bits: Bytes, added: Floats) -> None:
    """Write out = values W + bias for (rows, inputs) values, then do what `mode` says."""
    weights, bias, inputs, outputs = matrix
    first = 0
    while first < rows:
        last = min(first + _ROWS_AT_ONCE, rows)
        # The last rows are computed again rather than fewer at a time.
        first = max(0, min(first, last - vectors.ROWS))
        column = 0
        while column < outputs:
            whole = column + TILE <= outputs
            row = first
            while row < last:
                many = rows >= vectors.ROWS
                start = min(row, last - vectors.ROWS) if many else row
                place = (mode, start * outputs + column, outputs, start * inputs, inputs, column * inputs, column)
                if many and whole:
                    vectors.tile(out, values, weights, bias, bits, added, place)
                elif many:
                    vectors.half_tile(out, values, weights, bias, bits, added, place)
                elif whole:
                    vectors.thin_tile(out, values, weights, bias, bits, added, place)
                else:
                    vectors.thin_half_tile(out, values, weights, bias, bits, added, place)
                row += vectors.ROWS if many else 1
            column += TILE if whole else LANES
        first = last


@compiled()
def fetch_line(layer: Depthwise, width: int, values: Floats, line: Floats) -> None:
    """Write a line of inputs into the padded line of a depthwise convolution, whose other places are zero."""
    channels, dilation, padding = layer.channels, layer.input_dilation, (layer.kernel - 1) // 2
    if dilation == 1:
        into = line[padding * channels :][: width * channels]
        for i in range(width * channels):
            into[i] = values[i]
        return
    for column in range(width):
        into = line[(padding + column * dilation) * channels :][:channels]
        given = values[column * channels :][:channels]
        for i in range(channels):
            into[i] = given[i]


@compiled()
def depthwise(
    layer: Depthwise, shape: Shape, band: Band, values: Floats, out: Floats, mode: int, bits: Bytes, lines: Floats
) -> None:
    """Write a band of lines of a depthwise convolution, then do what `mode` says.

    `values` are the lines of the image that the lines before the band have not seen, `lines` those that they have.
    """
    kernel, channels, stride = layer.kernel, layer.channels, layer.stride
    padding, length = (kernel - 1) // 2, ((shape.out_width - 1) * stride + kernel) * channels
    if band.first == 0:
        lines[: kernel * length] = ZERO
    for row in range(band.first, band.last):
        low, high = row * stride - padding, row * stride - padding + kernel
        for line in range(low if row == 0 else max(low, high - stride), high):
            into = lines[(line + padding) % kernel * length :][:length]
            source = line // layer.input_dilation
            if line % layer.input_dilation == 0 and 0 <= source < shape.height:
                begin = (source - band.seen) * shape.width * channels
                fetch_line(layer, shape.width, values[begin : begin + shape.width * channels], into)
            else:
                into[:] = ZERO
        start = (row - band.first) * shape.out_width * channels
        place = start, start + shape.out_width * channels
        filter_line(layer, lines, out, mode, bits, (low + padding) % kernel, place)


@compiled()
def filter_line(
    layer: Depthwise, lines: Floats, out: Floats, mode: int, bits: Bytes, slot: int, place: tuple[int, int]
) -> None:
    """Write one line of outputs, out[place[0] : place[1]]; the first of the lines it sees is in the given slot."""
    weights, bias, kernel, channels, stride, _ = layer
    begin, end = place
    width = (end - begin) // channels
    length = ((width - 1) * stride + kernel) * channels
    # Where in `lines` each line of the kernel begins; of the last two a kernel of 3 has none.
    a, b, c = slot * length, (slot + 1) % kernel * length, (slot + 2) % kernel * length
    d, e = (slot + 3) % kernel * length, (slot + 4) % kernel * length
    for low in range(0, channels, _CHANNELS_AT_ONCE):
        column = 0
        while column < width:
            # The last positions are computed again rather than one at a time.
            many = width >= vectors.SIDE
            start = min(column, width - vectors.SIDE) if many else column
            for channel in range(low, min(low + _CHANNELS_AT_ONCE, channels), LANES):
                target, at = begin + start * channels + channel, start * stride * channels + channel
                if kernel == 3:
                    three = mode, target, channels, channel, a + at, b + at, c + at
                    if many and stride == 1:
                        vectors.three(out, lines, weights, bias, bits, lines, three)
                    elif many:
                        vectors.three_apart(out, lines, weights, bias, bits, lines, three)
                    elif stride == 1:
                        vectors.three_alone(out, lines, weights, bias, bits, lines, three)
                    else:
                        vectors.three_apart_alone(out, lines, weights, bias, bits, lines, three)
                else:
                    five = mode, target, channels, channel, a + at, b + at, c + at, d + at, e + at
                    if many and stride == 1:
                        vectors.five(out, lines, weights, bias, bits, lines, five)
                    elif many:
                        vectors.five_apart(out, lines, weights, bias, bits, lines, five)
                    elif stride == 1:
                        vectors.five_alone(out, lines, weights, bias, bits, lines, five)
                    else:
                        vectors.five_apart_alone(out, lines, weights, bias, bits, lines, five)
            column += vectors.SIDE if many else 1


@compiled()
def lines_seen(layer: Depthwise, shape: Shape, rows: int) -> int:
    """Return how many lines of its input a depthwise convolution has seen when it has written `rows` lines."""
    last = (rows - 1) * layer.stride + (layer.kernel - 1) // 2
    return shape.height if rows == shape.out_height else min(last // layer.input_dilation + 1, shape.height)


@compiled()
def bottleneck(
    block: Block, shape: Shape, images: int, values: Floats, out: Floats, tape: Tape, scratch: Scratch, mode: int
) -> None:
    """Write what a block makes of activations; with mode MASK, what its transpose makes of gradients.

    `mode`, CLIP or MASK, is what happens to the wide activations. A band of lines at a time goes through all three
    convolutions, so that these stay in fast memory; images that are smaller than a band go together.
    """
    before, after, wide = shape.height * shape.width, shape.out_height * shape.out_width, block.depthwise.channels
    given, outputs, enters, leaves = block.enter.inputs, block.leave.outputs, block.enter.outputs, block.leave.inputs
    for image in range(0, images, shape.together):
        count, seen = min(shape.together, images - image), 0
        for first in range(0, shape.out_height, shape.band):
            last = min(first + shape.band, shape.out_height)
            until = lines_seen(block.depthwise, shape, last)
            source, target = image * before + seen * shape.width, image * after + first * shape.out_width
            taken, made = (until - seen) * shape.width, (last - first) * shape.out_width
            own, into = values[source * given :], out[target * outputs :]
            entered, filtered = (scratch.entered if enters else own), (scratch.filtered if leaves else into)
            if enters:
                product(block.enter, count * taken, own, entered, mode, tape.entered[source * wide // LANES :], own)
            inside, band = tape.filtered[target * wide // LANES :], Band(first, last, seen)
            for i in range(count):
                one, written = entered[i * taken * wide :], filtered[i * made * wide :]
                bits, finish = inside[i * made * wide // LANES :], mode if leaves else PLAIN
                depthwise(block.depthwise, shape, band, one, written, finish, bits, scratch.lines)
            if leaves:
                skipped, finish = (values[target * given :], ADD) if block.skip else (values, PLAIN)
                product(block.leave, count * made, filtered, into, finish, inside, skipped)
            seen = until


@compiled()
def average(images: int, positions: int, values: Floats, partial: Floats, means: Floats) -> None:
    """Write each image's mean over all positions: (images, channels); `partial` is memory for (channels,)."""
    channels = len(means) // images
    for image in range(images):
        total = means[image * channels : (image + 1) * channels]
        total[:] = ZERO
        # Sums of sums: of thousands of numbers one by one the last would be rounded off.
        for first in range(0, positions, _ROWS_AT_ONCE):
            partial[:channels] = ZERO
            for position in range(first, min(first + _ROWS_AT_ONCE, positions)):
                own = values[(image * positions + position) * channels :][:channels]
                for i in range(channels):
                    partial[i] += own[i]
            for i in range(channels):
                total[i] += partial[i]
        for i in range(channels):
            total[i] /= np.float32(positions)


@compiled()
def spread(images: int, positions: int, shares: Floats, gradient: Floats, mode: int, bits: Bytes) -> None:
    """Add dL/d mean / positions, (images, channels), to the gradient at all positions: the VJP of `average`.

    Then do what `mode` says.
    """
    channels = len(shares) // images
    for image in range(images):
        for position in range(image * positions, (image + 1) * positions):
            for channel in range(0, channels, LANES):
                at = position * channels + channel
                place = mode, at, at, image * channels + channel
                vectors.shift(gradient, gradient, gradient, shares, bits, gradient, place)


@compiled()
def take_image(shape: Shape, image: Floats, padded: Floats) -> None:
    """Write an image (3, h, w) in [0, 1] as the stem takes it: scaled, rotated by 180 degrees, channels last.

    Around it is a border of zeros, (h + 2, w + 2, 3).
    """
    height, width = shape.height, shape.width
    padded[: 3 * (height + 2) * (width + 2)] = ZERO
    for channel in range(3):
        for row in range(height):
            line = image[(channel * height + height - 1 - row) * width :][:width]
            into = padded[3 * ((row + 1) * (width + 2) + 1) + channel :]
            for i in range(width):
                into[3 * i] = (_LEVELS * line[width - 1 - i] - _CENTRE) / _HALF_RANGE


@compiled()
def give_gradient(shape: Shape, padded: Floats, image: Floats) -> None:
    """Write dL/d image (3, h, w): the VJP of `take_image`."""
    height, width = shape.height, shape.width
    for channel in range(3):
        for row in range(height):
            line = image[(channel * height + height - 1 - row) * width :][:width]
            given = padded[3 * ((row + 1) * (width + 2) + 1) + channel :]
            for i in range(width):
                line[width - 1 - i] = given[3 * i] * (_LEVELS / _HALF_RANGE)


@compiled()
def unfold(shape: Shape, padded: Floats, columns: Floats) -> None:
    """Write the 3 x 3 positions of an image that each output of the first convolution sees, and zeros up to `STEM`."""
    for position in range(shape.out_height * shape.out_width):
        row, column = position // shape.out_width, position % shape.out_width
        into = columns[position * STEM :][:STEM]
        for line in range(3):
            seen = padded[3 * ((2 * row + line) * (shape.width + 2) + 2 * column) :]
            for i in range(9):
                into[9 * line + i] = seen[i]
        for i in range(27, STEM):
            into[i] = ZERO


@compiled()
def fold(shape: Shape, columns: Floats, padded: Floats) -> None:
    """Add up what `unfold` has copied: its transpose."""
    padded[: 3 * (shape.height + 2) * (shape.width + 2)] = ZERO
    for position in range(shape.out_height * shape.out_width):
        row, column = position // shape.out_width, position % shape.out_width
        given = columns[position * STEM :][:STEM]
        for line in range(3):
            seen = padded[3 * ((2 * row + line) * (shape.width + 2) + 2 * column) :]
            for i in range(9):
                seen[i] += given[9 * line + i]
