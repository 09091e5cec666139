"""The fast path on a CPU: a locked network as compiled loops, differentiable with respect to the images.

It equals `lit.frozen`, the readable reference, up to the rounding of float32 and is nearly twice as fast: clipping
is part of the convolutions, the wide activations between them never leave the processor's caches, and of them the
backward pass keeps one bit each. Each thread takes its share of the images through all layers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamfields.cpu import Bytes, Floats, can_compile
from dreamfields.cpu.threads import in_threads, share
from dreamfields.guidance.cpu import CLIP, LANES, MASK, PLAIN, Scratch, Shape, Tape
from dreamfields.guidance.cpu.layers import Layers, Plan, packed, positions, transposed
from dreamfields.guidance.lit.frozen import LockedNetwork


def usable(network: LockedNetwork, images: Tensor) -> bool:
    """Return whether this path can take images (b, 3, h, w): float32 on a CPU with Numba, and layers that it knows."""
    plain = images.device.type == "cpu" and images.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and can_compile() and packed(network) is not None


def level_means(network: LockedNetwork, images: Tensor) -> Tensor:
    """Return what `LockedNetwork.level_means` does: (b, w) of images (b, 3, h, w) in [0, 1]."""
    means: Tensor = _LevelMeans.apply(images, packed(network))  # type: ignore[no-untyped-call]
    return means


class _LevelMeans(torch.autograd.Function):
    """From images (b, 3, h, w) to the means of all levels (b, w)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, layers: Layers) -> Tensor:
        count, _, height, width = images.shape
        ctx.layers, ctx.size, ctx.taped = layers, (height, width), {}
        values = images.detach().contiguous().reshape(count, -1).numpy()
        means = [np.empty((count, layers.widths[level]), np.float32) for level in layers.levels]

        def work(part: int, parts: int) -> None:
            own = share(count, part, parts)
            plan = layers.plan(height, width, len(values[own]))
            ctx.taped[part] = _forward(layers, plan, values[own], [level[own] for level in means])

        in_threads(work, min(count, torch.get_num_threads()))
        return torch.from_numpy(np.concatenate(means, axis=1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (height, width), layers, count = ctx.size, ctx.layers, len(grad)
        gradients = np.empty((count, 3 * height * width), np.float32)
        ends = np.cumsum([layers.widths[level] for level in layers.levels])
        means = [np.ascontiguousarray(level) for level in np.split(grad.numpy(), ends[:-1], axis=1)]

        def work(part: int, parts: int) -> None:
            own = share(count, part, parts)
            plan = layers.plan(height, width, len(gradients[own]))
            _backward(layers, plan, ctx.taped[part], [level[own] for level in means], gradients[own])

        in_threads(work, len(ctx.taped))
        return torch.from_numpy(gradients).reshape(count, 3, height, width), None


def _forward(layers: Layers, plan: Plan, images: Floats, means: Sequence[Floats]) -> list[Bytes]:
    """Write the means of all levels of one thread's images (n, 3 h w), and return its tapes, those of `Plan.tapes`."""
    loops, count, first, last = load_loops(), plan.images, plan.shapes[0], plan.shapes[-1]
    of_level, tapes = dict(zip(layers.levels, means, strict=True)), [np.empty(size, np.uint8) for size in plan.tapes]
    stem_bits, *block_bits, head_bits = tapes
    with _scratch(plan) as scratch:
        given, values = scratch.even, scratch.odd
        size = positions(first) * layers.stem.outputs
        for image, planes in enumerate(images):
            loops.take_image(first, planes, scratch.filtered)
            loops.unfold(first, scratch.filtered, scratch.entered)
            into, bits = values[image * size :], stem_bits[image * size // LANES :]
            loops.product(layers.stem, positions(first), scratch.entered, into, CLIP, bits, into)
        for stage, shape in enumerate(plan.shapes):
            if stage:
                given, values = values, given
                block, tape = layers.blocks[stage - 1], Tape(*block_bits[2 * stage - 2 : 2 * stage])
                loops.bottleneck(block, shape, count, given, values, tape, scratch, CLIP)
            if stage in of_level:
                loops.average(count, positions(shape), values, scratch.lines, of_level[stage].reshape(-1))
        loops.product(layers.head, count * positions(last), values, given, CLIP, head_bits, values)
        loops.average(count, positions(last), given, scratch.lines, means[-1].reshape(-1))
    return tapes


def _backward(layers: Layers, plan: Plan, tapes: list[Bytes], means: Sequence[Floats], gradients: Floats) -> None:
    """Write dL/d images (n, 3 h w) of one thread's images, given dL/d means of all levels."""
    loops, count, first, last = load_loops(), plan.images, plan.shapes[0], plan.shapes[-1]
    of_level, rows = dict(zip(layers.levels, means, strict=True)), count * positions(last)
    stem_bits, *block_bits, head_bits = tapes

    def spread(level: Floats, shape: Shape, gradient: Floats, mode: int, bits: Bytes) -> None:
        images, shares = level.size // level.shape[-1], level.ravel() / positions(shape)
        loops.spread(images, positions(shape), shares, gradient, mode, bits)

    with _scratch(plan) as scratch:
        given, gradient = scratch.even, scratch.odd
        given[: rows * layers.head.outputs] = 0.0
        spread(means[-1], last, given, MASK, head_bits)
        loops.product(layers.head_back, rows, given, gradient, PLAIN, head_bits, given)
        for stage in range(len(layers.blocks), 0, -1):
            shape, (entered, filtered) = plan.shapes[stage], block_bits[2 * stage - 2 : 2 * stage]
            if stage in of_level:
                spread(of_level[stage], shape, gradient, PLAIN, filtered)
            given, gradient = gradient, given
            block, tape = layers.blocks_back[stage - 1], Tape(filtered, entered)
            loops.bottleneck(block, transposed(shape), count, given, gradient, tape, scratch, MASK)
        size = positions(first) * layers.stem.outputs
        for image, planes in enumerate(gradients):
            own, bits = gradient[image * size : (image + 1) * size], stem_bits[image * size // LANES :]
            spread(of_level[0][image], first, own, MASK, bits)
            loops.product(layers.stem_back, positions(first), own, scratch.entered, PLAIN, bits, own)
            loops.fold(first, scratch.entered, scratch.filtered)
            loops.give_gradient(first, scratch.filtered, planes)


_idle: list[Scratch] = []  # Memory that no thread uses; fresh memory each time would cost a twentieth


@contextmanager
def _scratch(plan: Plan) -> Iterator[Scratch]:
    """Lend enough memory for one thread's images."""
    lent = _idle.pop() if _idle else Scratch(*(np.empty(0, np.float32) for _ in Scratch._fields))
    wanted = zip(lent, plan.scratch, strict=True)
    lent = Scratch(*(one if len(one) >= size else np.empty(size, np.float32) for one, size in wanted))
    yield lent
    _idle.append(lent)


def load_loops() -> Any:
    """Import the compiled loops when they are first used, as Numba takes a second to load."""
    return import_module("dreamfields.guidance.cpu.loops")
