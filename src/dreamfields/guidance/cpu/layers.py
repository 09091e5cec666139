"""A locked network as the arrays that compiled loops take."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.cpu import Floats
from dreamfields.guidance.cpu import LANES, STEM, TILE, Block, Depthwise, Matrix, Shape
from dreamfields.guidance.lit.frozen import Convolution, LockedNetwork, Stage

_TOGETHER = 96
"""Images with fewer positions go through a block together: its weights are read from slow memory once for all."""
_BAND = 48 * 1024  # Wide activations of a block that are in use at a time, unless an image has fewer


@dataclass(frozen=True)
class Layers:
    """A locked network as arrays."""

    stem: Matrix
    stem_back: Matrix
    blocks: Sequence[Block]
    blocks_back: Sequence[Block]  # Their transposes, in the same order
    head: Matrix
    head_back: Matrix
    levels: Sequence[int]  # The last stage of each of the network's parts, counted from the stem

    @cached_property
    def widths(self) -> list[int]:
        """Return the number of channels after the stem, each block and the head."""
        return [self.stem.outputs, *(block.leave.outputs for block in self.blocks), self.head.outputs]

    def plan(self, height: int, width: int, images: int) -> "Plan":
        """Return the shapes and sizes for some images of a size, made once."""
        key = height, width, images
        if key not in self._plans:
            self._plans[key] = _plan(self, *key)
        return self._plans[key]

    @cached_property
    def _plans(self) -> dict[tuple[int, int, int], "Plan"]:
        return {}


@dataclass(frozen=True)
class Plan:
    """How one thread takes some images through the layers."""

    images: int
    shapes: Sequence[Shape]  # Of the stem and of each block; the head has that of the last block
    tapes: Sequence[int]  # Bytes of the bits of the stem, of both wide activations of each block, and of the head
    scratch: Sequence[int]  # Numbers in each field of `Scratch`


def _plan(layers: Layers, height: int, width: int, images: int) -> Plan:
    stem, *blocks = shapes = _shapes(layers, height, width)
    tapes = [positions(stem) * layers.stem.outputs]
    entered, filtered, lines = [positions(stem) * STEM], [3 * (height + 2) * (width + 2)], [max(layers.widths)]
    for block, shape in zip(layers.blocks, blocks, strict=True):
        wide, kernel, stride = block.depthwise.channels, block.depthwise.kernel, block.depthwise.stride
        tapes += shape.height * shape.width * wide, positions(shape) * wide
        # The first band sees some lines of inputs more than others do.
        most = min(shape.together, images) * (min(shape.band * stride, shape.height) + kernel) * shape.width * wide
        entered.append(most)
        filtered.append(most)
        lines.append(kernel * (shape.width + kernel) * wide)
    tapes.append(positions(blocks[-1]) * layers.head.outputs)
    stages = zip([*shapes, shapes[-1]], layers.widths, strict=True)
    narrow = images * max(positions(shape) * channels for shape, channels in stages)
    scratch = max(entered), max(filtered), max(lines), narrow, narrow
    return Plan(images, shapes, [images * size // LANES for size in tapes], scratch)


def _shapes(layers: Layers, height: int, width: int) -> list[Shape]:
    strides, shapes = [(2, STEM), *((block.depthwise.stride, block.depthwise.channels) for block in layers.blocks)], []
    for stride, channels in strides:
        out = -(-height // stride), -(-width // stride)
        together = max(1, _TOGETHER // (height * width))
        band = max(2, _BAND // (width * channels)) if together == 1 else height
        shapes.append(Shape(height, width, *out, together, band))
        height, width = out
    return shapes


def positions(shape: Shape) -> int:
    """Return the number of positions of the activations that a convolution gives."""
    return shape.out_height * shape.out_width


def transposed(shape: Shape) -> Shape:
    """Return the shape of the transpose of a convolution."""
    return Shape(shape.out_height, shape.out_width, shape.height, shape.width, shape.together, shape.band)


_known: WeakKeyDictionary[LockedNetwork, Layers | None] = WeakKeyDictionary()


def packed(network: LockedNetwork) -> Layers | None:
    """Return a network as arrays, made once; None if it has layers that this path does not know."""
    if network not in _known:
        _known[network] = _pack(network)
    return _known[network]


def _pack(network: LockedNetwork) -> Layers | None:
    if not _is_known(network):
        return None
    stem, *stages, head = network.stages
    (first,), (last,) = stem.convolutions, head.convolutions
    columns = functional.pad(first.weight.permute(0, 2, 3, 1).flatten(1), (0, STEM - first.weight[0].numel()))
    blocks, blocks_back = zip(*map(_blocks, stages), strict=True)
    stem_matrices, head_matrices = (_matrix(columns, first.bias), _matrix(columns.T)), _matrices(last)
    levels = [end - 1 for end in accumulate(len(part.stages) for part in network.parts())]
    return Layers(*stem_matrices, blocks, blocks_back, *head_matrices, levels)


def _is_known(network: LockedNetwork) -> bool:
    """Return whether the network is an EfficientNet-Lite in float32: a stem, blocks and a head."""
    stem, head, blocks = network.stages[0].convolutions, network.stages[-1].convolutions, network.stages[1:-1]
    kinds = [[_kind(layer) for layer in stage.convolutions] for stage in blocks]
    block = ["clipped 1x1", "clipped depthwise", "1x1"]
    layers = [layer for stage in network.stages for layer in stage.convolutions]
    return (
        [_kind(layer) for layer in stem] == ["stem"]
        and [_kind(layer) for layer in head] == ["clipped 1x1"]
        and len(kinds) > 1
        and kinds[0] == block[1:]
        and all(kind == block for kind in kinds[1:])
        and len(stem[0].weight) != len(blocks[0].convolutions[-1].weight)
        and all(len(layer.weight) % LANES == 0 and layer.weight.dtype == torch.float32 for layer in layers)
    )


def _kind(layer: Convolution) -> str:
    outputs, inputs, *kernel = layer.weight.shape
    clipped, step = "clipped " if layer.clipped else "", (*kernel, layer.stride)
    if layer.groups == outputs and step in [(size, size, stride) for size in (3, 5) for stride in (1, 2)]:
        return f"{clipped}depthwise"
    if layer.groups == 1 and inputs == 3 and step == (3, 3, 2) and layer.clipped:
        return "stem"
    return f"{clipped}1x1" if layer.groups == 1 and step == (1, 1, 1) else "unknown"


def _blocks(stage: Stage) -> tuple[Block, Block]:
    """Return a stage as a block, and its transpose."""
    *expand, depthwise, project = stage.convolutions
    channels, _, kernel, _ = depthwise.weight.shape
    none = np.empty(0, np.float32)
    enter, leave_back = (
        _matrices(expand[0]) if expand else (Matrix(none, none, channels, 0), Matrix(none, none, 0, channels))
    )
    leave, enter_back = _matrices(project)
    weights, stride = depthwise.weight[:, 0].permute(1, 2, 0), depthwise.stride
    here = Depthwise(_flat(weights), _flat(depthwise.bias), kernel, channels, stride, 1)
    back = Depthwise(_flat(weights.flip(0, 1)), np.zeros(channels, np.float32), kernel, channels, 1, stride)
    return Block(enter, here, leave, stage.skip), Block(enter_back, back, leave_back, stage.skip)


def _matrices(layer: Convolution) -> tuple[Matrix, Matrix]:
    """Return a 1 x 1 convolution and its transpose."""
    weights = layer.weight[:, :, 0, 0]
    return _matrix(weights, layer.bias), _matrix(weights.T)


def _matrix(weights: Tensor, bias: Tensor | None = None) -> Matrix:
    """Arrange the weights (outputs, inputs) of a matrix product in panels."""
    outputs, inputs = weights.shape
    panels = np.concatenate([_flat(panel.T) for panel in weights.split(TILE)])
    return Matrix(panels, np.zeros(outputs, np.float32) if bias is None else _flat(bias), inputs, outputs)


def _flat(tensor: Tensor) -> Floats:
    return tensor.detach().contiguous().reshape(-1).numpy().copy()
