"""The fast path on a CPU: rays of a voxel field rendered by compiled loops, differentiably.

Same samples, same pictures and same gradients as `renderer.render_rays`, the readable definition, up to the rounding
of float32; several times faster, and in a fraction of the memory.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamfields.render.cpu.threads import in_threads
from dreamfields.render.occupancy import occupied_box
from dreamfields.render.sampling import MIDDLE
from dreamfields.render.settings import TERMINATION
from dreamfields.scene.colour import correlation
from dreamfields.scene.fields.base import AbstractField
from dreamfields.scene.fields.voxels import CHANNELS, VoxelField, VoxelNodes
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import VoxelSettings

if TYPE_CHECKING:
    from dreamfields.render.cpu.compiled import Integers
    from dreamfields.render.cpu.samples import RayBatch, Scene

_RAYS_A_THREAD, _NODES_A_THREAD = 256, 32_768
"""Fewer are done sooner than another thread is started."""
_TILE, _TURNS = 4, 4
"""Rays have their turn in squares of so many pixels a side, as neighbours share nodes, and each thread has so many
stretches of squares, as some of a picture are empty."""
_BLOCKS_A_TAPE = 4096
"""Blocks of 16 samples that are kept in one piece of memory, 3.4 MB."""
_GRADIENT_BYTES = 2**28
"""The most that the gradients of all threads may take."""


def usable(field: AbstractField) -> TypeGuard[VoxelField | VoxelNodes]:
    """Tell whether this path can render a field: voxels, on the CPU, in float32, where Numba can be imported."""
    if not isinstance(field, (VoxelField, VoxelNodes)):
        return False
    values = field.grids if isinstance(field, VoxelField) else (field.nodes,)
    if not all(grid.device.type == "cpu" and grid.dtype == torch.float32 for grid in values):
        return False
    try:
        _kernels()
    except ImportError:
        return False
    return True


def sum_levels(field: VoxelField | VoxelNodes) -> Tensor:
    """Return what `VoxelField.sum_levels` does, laid out for the loops: (n+1, n+1, n+1, 4), indexed [z, y, x]."""
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
    """Return premultiplied colour, opacity and depth of rays, (n, 5), as `renderer.render_rays` does.

    Args:
        nodes: the field's values as `sum_levels` lays them out.
        settings: how they become density and colour.
        rays: n rays.
        samples: samples a ray.
        occupancy: cells that may hold density, bool (k, k, k); None samples everywhere.
        jitter: where in their bins samples lie, (n, samples), (n, 1) or (1, 1); see `sampling`.
        termination: transmittance at which a ray ends.
        width: pixels a row, where the rays are those of pictures; it decides nothing but speed.
    """
    cells = torch.ones(1, 1, 1, dtype=torch.bool) if occupancy is None else occupancy
    scene = _scene(nodes, settings, cells, termination)
    batch = _ray_batch(rays, samples, jitter)
    pixels: Tensor = _March.apply(nodes, scene, batch, _in_squares(len(rays), width))  # type: ignore[no-untyped-call]
    return pixels.T


class _SumLevels(torch.autograd.Function):
    """From the grids (m, m, m, 4) of a pyramid to their weighted sum on the finest nodes, and back."""

    @staticmethod
    def forward(ctx: Any, level_scale: float, *grids: Tensor) -> Tensor:
        ctx.weights = [np.float32(level_scale**level) for level in range(len(grids))]
        nodes = grids[0].contiguous()
        for grid, weight in zip(grids[1:], ctx.weights[1:], strict=True):
            finer = torch.empty_like(grid)
            work = partial(_pyramid().refine, _flat(nodes), _flat(grid), weight, _flat(finer), len(nodes))
            _in_parts(work, len(grid))
            nodes = finer
        return nodes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad.contiguous()
        gradients: list[Tensor] = []
        for weight in ctx.weights[:0:-1]:
            n = (len(grad) + 1) // 2
            coarser = torch.empty(n, n, n, CHANNELS)
            _in_parts(partial(_pyramid().coarsen, _flat(grad), _flat(coarser), n), len(grad))
            gradients.append(grad * float(weight))
            grad = coarser
        gradients.append(grad)
        return None, *reversed(gradients)


def _in_parts(work: Callable[..., None], side: int) -> None:
    """Do work on grids of a number of nodes a side in threads, each with a spare row."""
    in_threads(
        lambda part, parts: work(np.empty(CHANNELS * side, np.float32), part, parts), _parts(side**3, _NODES_A_THREAD)
    )


class _March(torch.autograd.Function):
    """From the nodes (m, m, m, 4) of a scene to the pixels (5, n) of a bundle of rays, and back."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, scene: "Scene", batch: "RayBatch", order: "Integers") -> Tensor:
        count, samples = len(order), len(batch.fractions) - 1
        ctx.scene, ctx.ends, ctx.reels = scene, np.empty(count, np.int32), []
        pixels, keep = np.empty((5, count), np.float32), ctx.needs_input_grad[0]

        def work(part: int, parts: int) -> None:
            kernels, turns, begin = _kernels(), _turns(order, part, parts), 0
            buffer, tape = _samples().make_sample_buffer(samples), None
            while begin < len(turns):
                if tape is None or keep:
                    tape = kernels.make_tape(_BLOCKS_A_TAPE + samples)
                end = kernels.integrate(scene, batch, turns, begin, buffer, tape, ctx.ends, pixels)
                if keep:
                    ctx.reels.append((part, begin, turns[begin:end], tape))
                begin = end

        in_threads(work, _parts(count, _RAYS_A_THREAD))
        return torch.from_numpy(pixels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        kernels, scene = _kernels(), ctx.scene
        # A gradient a thread, and their sum in a fixed order: the same bits, whoever is first.
        parts = min(_parts(len(ctx.ends), _RAYS_A_THREAD), max(1, _GRADIENT_BYTES // scene.nodes.nbytes))
        gradients = np.empty((parts, len(scene.nodes)), np.float32)
        wanted, reels = grads.contiguous().numpy(), sorted(ctx.reels, key=lambda reel: reel[:2])

        def work(part: int, parts: int) -> None:
            values, gradient = np.empty(_samples().WIDTH * CHANNELS, np.float32), gradients[part]
            gradient.fill(0.0)
            for owner, _, turns, tape in reels:
                if owner % parts == part:
                    kernels.differentiate(scene, turns, tape, ctx.ends, wanted, values, gradient)

        in_threads(work, parts)
        total = torch.from_numpy(gradients[0])
        for other in gradients[1:]:
            total += torch.from_numpy(other)
        return total.reshape(scene.side, scene.side, scene.side, CHANNELS), None, None, None


def _scene(nodes: Tensor, settings: VoxelSettings, cells: Tensor, termination: float) -> "Scene":
    """Lay a field out for the loops."""
    low, high = occupied_box(cells)
    scene: Scene = _samples().Scene(
        nodes=_flat(nodes),
        side=np.int32(len(nodes)),
        occupancy=cells.reshape(-1).to(torch.uint8).numpy(),
        occupancy_side=np.int32(len(cells)),
        low=tuple(low.numpy()),
        high=tuple(high.numpy()),
        termination=np.float32(termination),
        density_scale=np.float32(settings.density_scale),
        density_gain=np.float32(settings.density_gain),
        blob_strength=np.float32(settings.blob_strength),
        blob_offset=np.float32(settings.blob_offset),
        mix=tuple(_flat(settings.colour_gain * correlation())),
    )
    return scene


def _ray_batch(rays: Rays, samples: int, jitter: Tensor) -> "RayBatch":
    """Lay rays out for the loops."""
    fractions = torch.linspace(0.0, 1.0, samples + 1)
    offsets = jitter.expand(len(rays), -1)
    batch: RayBatch = _samples().RayBatch(
        *(part.contiguous().numpy() for part in (rays.origins, rays.directions, fractions, offsets))
    )
    return batch


@lru_cache(maxsize=4)
def _in_squares(total: int, width: int) -> "Integers":
    """Return all pixels (total,) of pictures below each other, square by square: the order in which they are done."""
    pixels = np.arange(total)
    return np.argsort(pixels // width // _TILE * width + pixels % width // _TILE, kind="stable")


def _turns(order: "Integers", part: int, parts: int) -> "Integers":
    """Return the rays that one thread takes."""
    return np.concatenate(np.array_split(order, parts * _TURNS)[part::parts])


def _flat(tensor: Tensor) -> NDArray[np.float32]:
    """Return a tensor's numbers in a row; a contiguous tensor shares them."""
    numbers: NDArray[np.float32] = tensor.detach().contiguous().reshape(-1).numpy()
    return numbers


def _parts(count: int, least: int) -> int:
    """Return how many threads share so much work, of which each is to have a least amount."""
    return max(1, min(torch.get_num_threads(), count // least))


def _kernels() -> Any:
    """Import the loops over rays when they are first needed, as Numba takes its time.

    Raises:
        ImportError: Numba is missing, or does not fit the NumPy that is there.
    """
    from dreamfields.render.cpu import kernels

    return kernels


def _samples() -> Any:
    """Import the loops that place samples, like those over rays."""
    from dreamfields.render.cpu import samples

    return samples


def _pyramid() -> Any:
    """Import the loops over nodes, like those over rays."""
    from dreamfields.render.cpu import pyramid

    return pyramid
