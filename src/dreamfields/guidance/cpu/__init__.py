"""The compiled towers for CPUs: what their loops take.

Activations are channels last: those of one position lie side by side. Their number is a multiple of 8, the length of a
vector. The readable reference is `lit.frozen`.
"""

from typing import Final, NamedTuple

from dreamfields.cpu import Bytes, Floats

LANES: Final = 8  # Numbers in a vector
STEM: Final = 32  # Inputs of the first convolution as a matrix product: 3 x 3 positions of 3 channels, and zeros
TILE: Final = 16  # Outputs of a matrix product that are computed at once, and the width of its panels of weights

PLAIN, CLIP, MASK, ADD = range(4)
"""What happens to a sum before it is written: nothing; it is clipped as by ReLU6, and a bit says whether it was inside;
it becomes 0 unless that bit is set; an activation is added to it."""


class Matrix(NamedTuple):
    """A 1 x 1 convolution."""

    weights: Floats  # (inputs * outputs,) panels of `TILE` outputs, the last one of `LANES` perhaps; input by input
    bias: Floats  # (outputs,)
    inputs: int
    outputs: int


class Depthwise(NamedTuple):
    """A depthwise convolution, each channel by itself, with "same" padding for images rotated by 180 degrees."""

    weights: Floats  # (kernel * kernel * channels,) row by row, column by column
    bias: Floats  # (channels,)
    kernel: int  # 3 or 5
    channels: int
    stride: int  # Positions from one output to the next
    input_dilation: int  # Positions from one input to the next, with zeros between: the gradient of a stride


class Shape(NamedTuple):
    """Height and width of the activations that a convolution takes, and of those that it gives."""

    height: int
    width: int
    out_height: int
    out_width: int
    together: int  # Images that go through a block together: one, unless they are small
    band: int  # Lines of outputs that go through a block together


class Band(NamedTuple):
    """Lines of the outputs of a depthwise convolution."""

    first: int
    last: int  # The first after them
    seen: int  # Lines of the input that the outputs before the band have seen


class Block(NamedTuple):
    """An inverted bottleneck or its transpose: a 1 x 1 convolution to many channels, a depthwise one, and one to few.

    The first block of a network has no first convolution, so that `enter` has no outputs; its transpose has no last
    one, so that `leave` has no inputs.
    """

    enter: Matrix
    depthwise: Depthwise
    leave: Matrix
    skip: bool  # Whether its input is added to its output


class Tape(NamedTuple):
    """What the backward pass of a block needs: for 8 wide activations side by side, a byte of bits for those inside."""

    entered: Bytes
    filtered: Bytes


class Scratch(NamedTuple):
    """Memory of one thread."""

    entered: Floats
    filtered: Floats  # The wide activations of a block, before and after its depthwise convolution
    lines: Floats  # The padded lines of inputs that one line of outputs of a depthwise convolution sees
    even: Floats
    odd: Floats  # The narrow activations before and after a block, in turn
