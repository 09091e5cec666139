"""The fast path on a CPU: rays of a voxel field rendered by compiled loops, differentiably.

It equals `renderer.render_rays`, the readable reference, up to the rounding of float32, several times faster.
"""

from functools import lru_cache
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamfields.cpu import Floats, Integers, can_compile
from dreamfields.cpu.threads import in_threads
from dreamfields.render.cpu import CHANNELS, RayBatch, Scene, loops
from dreamfields.render.occupancy import occupied_box
from dreamfields.render.settings import TERMINATION
from dreamfields.render.volume import MIDDLE
from dreamfields.scene.colour import correlation
from dreamfields.scene.fields.base import AbstractField
from dreamfields.scene.fields.voxels import VoxelField, VoxelNodes
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import VoxelSettings

_RAYS_A_THREAD, _NODES_A_THREAD = 256, 32_768  # The least work for which another thread is worth its start
_TILE, _STRIPS = 4, 4
"""Rays are rendered in tiles of so many pixels a side, as neighbours share nodes; each thread renders so many strips of
tiles from all over the images, as parts of them are empty."""
_BLOCKS_A_TAPE = 4096  # Blocks of samples kept in one array, 1.7 MB
_GRADIENT_BYTES = 2**28  # Most memory for the gradients of all threads


def usable(field: AbstractField) -> TypeGuard[VoxelField | VoxelNodes]:
    """Return whether this path can render a field: voxels of float32, on a CPU with Numba."""
    if not isinstance(field, (VoxelField, VoxelNodes)):
        return False
    grids = field.grids if isinstance(field, VoxelField) else (field.nodes,)
    return all(grid.device.type == "cpu" and grid.dtype == torch.float32 for grid in grids) and can_compile()


def sum_levels(field: VoxelField | VoxelNodes) -> Tensor:
    """Return what `VoxelField.sum_levels` does, as the loops need it: (n+1, n+1, n+1, 4), indexed [z, y, x]."""
    if isinstance(field, VoxelNodes):
        return field.nodes
    nodes: Tensor = _SumLevels.apply(field.settings.level_scale, *field.grids)  # type: ignore[no-untyped-call]
    return nodes


def render_rays_fused(
    nodes: Tensor,
    settings: VoxelSettings,
    rays: Rays,
    samples: int,
    *,
    occupancy: Tensor | None = None,
    jitter: Tensor = MIDDLE,
    termination: float = TERMINATION,
    width: int = 1,
) -> Tensor:
    """Return premultiplied colour, opacity and depth of n rays, (n, 5), as `renderer.render_rays` does.

    `nodes` are the field's values from `sum_levels`, `settings` say how they become density and colour. `width` is the
    number of pixels in a line of the images whose rays these are; it affects speed alone.
    """
    cells = torch.ones(1, 1, 1, dtype=torch.bool) if occupancy is None else occupancy
    occupied = cells.reshape(-1).to(torch.uint8).numpy()
    side, occupancy_side = np.int32(len(nodes)), np.int32(len(cells))
    low, high = (tuple(corner.numpy()) for corner in occupied_box(cells))
    mix = tuple(_flat(settings.colour_gain * correlation()))
    numbers = termination, settings.density_scale, settings.density_gain, settings.blob_strength, settings.blob_offset
    scene = Scene(_flat(nodes), side, occupied, occupancy_side, low, high, mix, *map(np.float32, numbers))
    parts = (rays.origins, rays.directions, torch.linspace(0.0, 1.0, samples + 1), jitter.expand(len(rays), -1))
    batch = RayBatch(*(part.contiguous().numpy() for part in parts))
    pixels: Tensor = _March.apply(nodes, scene, batch, _in_tiles(len(rays), width))  # type: ignore[no-untyped-call]
    return pixels.T


class _SumLevels(torch.autograd.Function):
    """From the grids (m, m, m, 4) of a pyramid to their weighted sum on the finest nodes, with a gradient."""

    @staticmethod
    def forward(ctx: Any, level_scale: float, *grids: Tensor) -> Tensor:
        ctx.weights = [np.float32(level_scale**level) for level in range(len(grids))]
        nodes = grids[0].contiguous()
        for grid, weight in zip(grids[1:], ctx.weights[1:], strict=True):
            coarse, nodes = nodes, torch.empty_like(grid)
            _in_planes("refine", len(coarse), _flat(coarse), _flat(grid), weight, _flat(nodes))
        return nodes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad.contiguous()
        gradients: list[Tensor] = []
        for weight in ctx.weights[:0:-1]:
            n = (len(grad) + 1) // 2
            fine, grad = grad, torch.empty(n, n, n, CHANNELS)
            gradients.append(torch.empty_like(fine))
            _in_planes("coarsen", n, _flat(fine), weight, _flat(gradients[-1]), _flat(grad))
        return None, grad, *reversed(gradients)


def _in_planes(name: str, side: int, *given: object) -> None:
    """Run a loop between a level of n = `side` nodes a side and the next in threads, each with memory for one line."""
    nodes = 2 * side - 1

    def work(part: int, parts: int) -> None:
        getattr(loops("pyramid"), name)(*given, side, np.empty(CHANNELS * nodes, np.float32), part, parts)

    in_threads(work, _threads(nodes**3, _NODES_A_THREAD))


class _March(torch.autograd.Function):
    """From the nodes (m, m, m, 4) of a scene to the pixels (5, n) of a batch of rays, with a gradient."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, scene: Scene, batch: RayBatch, order: Integers) -> Tensor:
        count, samples, kernels = len(order), len(batch.fractions) - 1, loops("kernels")
        ctx.scene, ctx.ends, ctx.taped = scene, np.empty(count, np.int32), []
        pixels, keep = np.empty((5, count), np.float32), ctx.needs_input_grad[0]

        def work(part: int, parts: int) -> None:
            rays = np.concatenate(np.array_split(order, parts * _STRIPS)[part::parts])
            buffer, tape = kernels.make_sample_buffer(samples), None
            while len(rays):
                if tape is None or keep:
                    tape = kernels.make_tape(_BLOCKS_A_TAPE + samples)
                done = kernels.integrate(scene, batch, rays, buffer, tape, ctx.ends, pixels)
                if keep:
                    ctx.taped.append((part, rays[:done], tape))
                rays = rays[done:]

        in_threads(work, _threads(count, _RAYS_A_THREAD))
        return torch.from_numpy(pixels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        kernels, scene = loops("kernels"), ctx.scene
        # Each thread has its own gradient, and they are summed in a fixed order: the same bits, whichever ends first.
        parts = min(_threads(len(ctx.ends), _RAYS_A_THREAD), max(1, _GRADIENT_BYTES // scene.nodes.nbytes))
        gradients = np.empty((parts, len(scene.nodes)), np.float32)
        pixel_grads, taped = grads.contiguous().numpy(), sorted(ctx.taped, key=lambda entry: entry[0])

        def work(part: int, parts: int) -> None:
            values, gradient = np.empty(kernels.WIDTH * CHANNELS, np.float32), gradients[part]
            gradient.fill(0.0)
            for owner, rays, tape in taped:
                if owner % parts == part:
                    kernels.differentiate(scene, rays, tape, ctx.ends, pixel_grads, values, gradient)

        in_threads(work, parts)
        total, *others = torch.from_numpy(gradients)
        for other in others:
            total += other
        return total.reshape(scene.side, scene.side, scene.side, CHANNELS), None, None, None


@lru_cache(maxsize=4)
def _in_tiles(total: int, width: int) -> Integers:
    """Return the indices (total,) of the pixels of images below each other, tile by tile: the order of rendering."""
    pixels = np.arange(total)
    return np.argsort(pixels // width // _TILE * width + pixels % width // _TILE, kind="stable")


def _flat(tensor: Tensor) -> Floats:
    """Return a tensor's numbers as a flat array; that of a contiguous tensor is a view."""
    numbers: Floats = tensor.detach().numpy().reshape(-1)
    return numbers


def _threads(work: int, least: int) -> int:
    """Return the number of threads for an amount of work of which each has at least `least`."""
    return max(1, min(torch.get_num_threads(), work // least))
