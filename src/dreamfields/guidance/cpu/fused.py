"""The fast path on a CPU: a locked network as compiled loops, differentiable with respect to the images.

It equals `lit.frozen`, the readable reference, up to the rounding of float32 and is two to three times faster: clipping
is part of the convolutions, the wide activations between them never leave the processor's caches, and of them the
backward pass keeps one bit each. Each thread takes its share of the images through all layers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamfields.cpu import Bytes, Floats, can_compile
from dreamfields.cpu.threads import in_threads
from dreamfields.guidance.cpu import CLIP, LANES, MASK, PLAIN, STEM, Scratch, Shape, Tape
from dreamfields.guidance.cpu.layers import Layers, packed, positions, turned
from dreamfields.guidance.lit.frozen import LockedNetwork


def usable(network: LockedNetwork, images: Tensor) -> bool:
    """Return whether this path can take images (b, 3, h, w): float32 on a CPU with Numba, and layers that it knows."""
    plain = images.device.type == "cpu" and images.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and can_compile() and packed(network) is not None


def level_means(network: LockedNetwork, images: Tensor) -> Tensor:
    """Return what `LockedNetwork.level_means` does: (b, w) of images (b, 3, h, w) in [0, 1]."""
    means: Tensor = _LevelMeans.apply(images, packed(network))  # type: ignore[no-untyped-call]
    return means


@dataclass(frozen=True)
class _Kept:
    """What the backward pass of one thread's images needs."""

    stem: Bytes
    blocks: list[Tape]
    head: Bytes


class _LevelMeans(torch.autograd.Function):
    """From images (b, 3, h, w) to the means of all levels (b, w)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, layers: Layers) -> Tensor:
        ctx.layers, ctx.shapes, ctx.kept = layers, layers.shapes(*images.shape[2:]), {}
        values = images.detach().contiguous().reshape(len(images), -1).numpy()
        means = [np.empty((len(images), layers.widths[level]), np.float32) for level in layers.levels]

        def work(part: int, parts: int) -> None:
            own = _share(len(values), part, parts)
            ctx.kept[part] = _forward(layers, ctx.shapes, values[own], [level[own] for level in means])

        in_threads(work, min(len(images), torch.get_num_threads()))
        return torch.from_numpy(np.concatenate(means, axis=1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers, first = ctx.layers, ctx.shapes[0]
        gradients = np.empty((len(grad), 3 * first.height * first.width), np.float32)
        ends = np.cumsum([layers.widths[level] for level in layers.levels])
        means = [np.ascontiguousarray(level) for level in np.split(grad.numpy(), ends[:-1], axis=1)]

        def work(part: int, parts: int) -> None:
            own = _share(len(gradients), part, parts)
            _backward(layers, ctx.shapes, ctx.kept[part], [level[own] for level in means], gradients[own])

        in_threads(work, len(ctx.kept))
        return torch.from_numpy(gradients).reshape(len(grad), 3, first.height, first.width), None


def _share(count: int, part: int, parts: int) -> slice:
    """Return which of the images a part takes."""
    return slice(count * part // parts, count * (part + 1) // parts)


def _forward(layers: Layers, shapes: Sequence[Shape], images: Floats, means: Sequence[Floats]) -> _Kept:
    """Write the means of all levels of one thread's images (n, 3 h w)."""
    loops, count, first, head = load_loops(), len(images), shapes[0], layers.head
    of_level, kept = dict(zip(layers.levels, means, strict=True)), _empty_tapes(layers, shapes, count)
    with _scratch(layers, shapes, count) as scratch:
        given, values = scratch.even, scratch.odd
        for image, planes in enumerate(images):
            begin = image * positions(first) * layers.stem.outputs
            loops.take_image(first, planes, scratch.filtered)
            loops.unfold(first, scratch.filtered, scratch.entered)
            into, bits = values[begin:], kept.stem[begin // LANES :]
            loops.product(layers.stem, positions(first), scratch.entered, into, CLIP, bits, into)
        for stage, shape in enumerate(shapes):
            if stage:
                given, values = values, given
                tape = kept.blocks[stage - 1]
                loops.bottleneck(layers.blocks[stage - 1], shape, count, given, values, tape, scratch, CLIP)
            if stage in of_level:
                loops.average(count, positions(shape), values, scratch.lines, of_level[stage].reshape(-1))
        loops.product(head, count * positions(shapes[-1]), values, given, CLIP, kept.head, values)
        loops.average(count, positions(shapes[-1]), given, scratch.lines, means[-1].reshape(-1))
    return kept


def _backward(layers: Layers, shapes: Sequence[Shape], kept: _Kept, means: Sequence[Floats], gradients: Floats) -> None:
    """Write dL/d images (n, 3 h w) of one thread's images, given dL/d means of all levels."""
    loops, count, first, last = load_loops(), len(gradients), shapes[0], shapes[-1]
    of_level, rows = dict(zip(layers.levels, means, strict=True)), count * positions(last)

    def spread(level: Floats, shape: Shape, gradient: Floats, mode: int, bits: Bytes) -> None:
        images, shares = level.size // level.shape[-1], level.ravel() / positions(shape)
        loops.spread(images, positions(shape), shares, gradient, mode, bits)

    with _scratch(layers, shapes, count) as scratch:
        given, gradient = scratch.even, scratch.odd
        given[: rows * layers.head.outputs] = 0.0
        spread(means[-1], last, given, MASK, kept.head)
        loops.product(layers.head_back, rows, given, gradient, PLAIN, kept.head, given)
        for stage in range(len(layers.blocks), 0, -1):
            shape, (entered, filtered) = shapes[stage], kept.blocks[stage - 1]
            if stage in of_level:
                spread(of_level[stage], shape, gradient, PLAIN, filtered)
            given, gradient = gradient, given
            block, tape = layers.blocks_back[stage - 1], Tape(filtered, entered)
            loops.bottleneck(block, turned(shape), count, given, gradient, tape, scratch, MASK)
        size = positions(first) * layers.stem.outputs
        for image, planes in enumerate(gradients):
            own, bits = gradient[image * size : (image + 1) * size], kept.stem[image * size // LANES :]
            spread(of_level[0][image], first, own, MASK, bits)
            loops.product(layers.stem_back, positions(first), own, scratch.entered, PLAIN, bits, own)
            loops.fold(first, scratch.entered, scratch.filtered)
            loops.give_gradient(first, scratch.filtered, planes)


def _empty_tapes(layers: Layers, shapes: Sequence[Shape], images: int) -> _Kept:
    def empty(places: int, channels: int) -> Bytes:
        return np.empty(images * places * channels // LANES, np.uint8)

    blocks = []
    for block, shape in zip(layers.blocks, shapes[1:], strict=True):
        wide = block.depthwise.channels
        blocks.append(Tape(empty(shape.height * shape.width, wide), empty(positions(shape), wide)))
    ends = empty(positions(shapes[0]), layers.stem.outputs), empty(positions(shapes[-1]), layers.head.outputs)
    return _Kept(ends[0], blocks, ends[1])


_idle: list[Scratch] = []  # Memory that no thread uses; fresh memory each time would cost a twentieth


@contextmanager
def _scratch(layers: Layers, shapes: Sequence[Shape], images: int) -> Iterator[Scratch]:
    """Lend enough memory for one thread's images."""
    lent = _idle.pop() if _idle else Scratch(*(np.empty(0, np.float32) for _ in Scratch._fields))
    wanted = zip(lent, _least_scratch(layers, shapes, images), strict=True)
    lent = Scratch(*(one if len(one) >= size else np.empty(size, np.float32) for one, size in wanted))
    yield lent
    _idle.append(lent)


def _least_scratch(layers: Layers, shapes: Sequence[Shape], images: int) -> tuple[int, ...]:
    """Return the sizes of the fields of `Scratch` for one thread's images."""
    first = shapes[0]
    entered, filtered, lines = [positions(first) * STEM], [3 * first.height * first.width], [max(layers.widths)]
    for block, shape in zip(layers.blocks, shapes[1:], strict=True):
        wide, kernel, stride = block.depthwise.channels, block.depthwise.kernel, block.depthwise.stride
        # The first band sees some lines of inputs more than others do.
        most = min(shape.together, images) * (min(shape.band * stride, shape.height) + kernel) * shape.width * wide
        entered.append(most)
        filtered.append(most)
        lines.append(kernel * (shape.width + kernel) * wide)
    stages = zip([*shapes, shapes[-1]], layers.widths, strict=True)
    narrow = images * max(positions(shape) * width for shape, width in stages)
    return max(entered), max(filtered), max(lines), narrow, narrow


def load_loops() -> Any:
    """Import the compiled loops when they are first used, as Numba takes a second to load."""
    return import_module("dreamfields.guidance.cpu.loops")
