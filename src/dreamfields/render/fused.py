"""The fast path on a CPU: rays of a voxel field rendered by compiled loops, differentiably.

Same samples, same pictures and same gradients as `renderer.render_rays`, the readable definition, up to the rounding
of float32; several times faster, and in a fraction of the memory.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamfields.render.sampling import Spans, draw_jitter, find_spans
from dreamfields.scene.colour import correlation
from dreamfields.scene.fields.base import AbstractField
from dreamfields.scene.fields.voxels import CHANNELS, VoxelField
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import VoxelSettings

if TYPE_CHECKING:
    from dreamfields.render.compiled import Integers
    from dreamfields.render.kernels import Bundle, Scene

_RAYS_A_THREAD, _NODES_A_THREAD = 256, 32_768
"""Fewer are done sooner than another thread is started."""
_TILE, _TURNS = 4, 4
"""Rays have their turn in squares of so many pixels a side, as neighbours share nodes, and each thread has so many
stretches of squares, as some of a picture are empty."""
_GRADIENT_BYTES = 2**28
"""The most that the gradients of all threads may take."""


def usable(field: AbstractField) -> TypeGuard[VoxelField]:
    """Tell whether this path can render a field: voxels, on the CPU, in float32, where Numba can be imported."""
    if not isinstance(field, VoxelField):
        return False
    if not all(grid.device.type == "cpu" and grid.dtype == torch.float32 for grid in field.grids):
        return False
    try:
        _kernels()
    except ImportError:
        return False
    return True


def collapse(field: VoxelField) -> Tensor:
    """Return what `VoxelField.collapse` does, laid out for the loops: (n+1, n+1, n+1, 4), indexed [z, y, x]."""
    nodes: Tensor = _Collapse.apply(field.settings.level_scale, *field.grids)  # type: ignore[no-untyped-call]
    return nodes


def render_rays_fused(
    nodes: Tensor,
    settings: VoxelSettings,
    rays: Rays,
    samples: int,
    *,
    occupancy: Tensor | None = None,
    generator: torch.Generator | None = None,
    width: int = 1,
) -> Tensor:
    """Return premultiplied colour, opacity and depth of rays, (n, 5), as `renderer.render_rays` does.

    Args:
        nodes: the field's values as `collapse` lays them out.
        settings: how they become density and colour.
        rays: n rays.
        samples: samples a ray.
        occupancy: cells that may hold density, bool (k, k, k); None samples everywhere.
        generator: source of the jitter within each bin; None samples the middles.
        width: pixels a row, where the rays are those of pictures; it decides nothing but speed.
    """
    spans = find_spans(rays, occupancy)
    jitter = torch.empty(0, samples) if generator is None else draw_jitter(len(spans), samples, generator)
    cells = torch.ones(1, 1, 1, dtype=torch.bool) if occupancy is None else occupancy
    bundle, order = _bundle(spans, samples, jitter), _order(spans.hits.numpy(), spans.total, width)
    pixels: Tensor = _March.apply(nodes, settings, cells, bundle, order)  # type: ignore[no-untyped-call]
    return spans.put_back(pixels)


class _Collapse(torch.autograd.Function):
    """From the grids (4, m, m, m) of a pyramid to their weighted sum on the finest nodes (m, m, m, 4), and back."""

    @staticmethod
    def forward(ctx: Any, level_scale: float, *grids: Tensor) -> Tensor:
        ctx.weights = [np.float32(level_scale**level) for level in range(len(grids))]
        nodes = grids[0].permute(1, 2, 3, 0).contiguous()
        for grid, weight in zip(grids[1:], ctx.weights[1:], strict=True):
            n, m = len(nodes), grid.shape[1]
            finer = torch.empty(m, m, m, CHANNELS)
            work = partial(_pyramid().refine, _flat(nodes), _flat(grid), weight, _flat(finer), n)
            _in_threads(work, _parts(m**3, _NODES_A_THREAD))
            nodes = finer
        return nodes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
        gradients: list[Tensor] = []
        for weight in ctx.weights[:0:-1]:
            m = len(pull)
            n = (m + 1) // 2
            level, coarser = torch.empty(CHANNELS, m, m, m), torch.empty(n, n, n, CHANNELS)
            parts = _parts(m**3, _NODES_A_THREAD)
            _in_threads(partial(_pyramid().weigh_level, _flat(pull), weight, _flat(level), m), parts)
            _in_threads(partial(_pyramid().coarsen, _flat(pull), _flat(coarser), n), parts)
            gradients.append(level)
            pull = coarser
        gradients.append(pull.permute(3, 0, 1, 2).contiguous())
        return None, *reversed(gradients)


class _March(torch.autograd.Function):
    """From the nodes (n+1, n+1, n+1, 4) to the pixels (m, 5) of the rays that hit, and back."""

    @staticmethod
    def forward(
        ctx: Any, nodes: Tensor, settings: VoxelSettings, cells: Tensor, bundle: "Bundle", order: "Integers"
    ) -> Tensor:
        kernels, scene = _kernels(), _scene(nodes, settings, cells)
        ctx.scene, ctx.bundle, ctx.order = scene, bundle, order
        pixels = np.empty((len(order), 5), np.float32)

        def work(part: int, parts: int) -> None:
            kernels.integrate(scene, bundle, _turns(order, part, parts), kernels.make_room(bundle), pixels)

        _in_threads(work, _parts(len(order), _RAYS_A_THREAD))
        return torch.from_numpy(pixels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pulls: Tensor) -> tuple[Tensor | None, ...]:
        kernels, scene, bundle, order = _kernels(), ctx.scene, ctx.bundle, ctx.order
        # A gradient a thread, and their sum in a fixed order: the same bits, whoever is first.
        parts = min(_parts(len(order), _RAYS_A_THREAD), max(1, _GRADIENT_BYTES // scene.nodes.nbytes))
        gradients = np.zeros((parts, len(scene.nodes)), np.float32)
        wanted = pulls.contiguous().numpy()

        def work(part: int, parts: int) -> None:
            turns, room = _turns(order, part, parts), kernels.make_room(bundle)
            kernels.differentiate(scene, bundle, turns, room, wanted, gradients[part])

        _in_threads(work, parts)
        total = torch.from_numpy(gradients[0])
        for other in gradients[1:]:
            total += torch.from_numpy(other)
        return total.reshape(scene.side, scene.side, scene.side, CHANNELS), None, None, None, None


def _scene(nodes: Tensor, settings: VoxelSettings, cells: Tensor) -> "Scene":
    """Lay a field out for the loops."""
    scene: Scene = _kernels().Scene(
        nodes=_flat(nodes),
        side=len(nodes),
        occupancy=cells.reshape(-1).to(torch.uint8).numpy(),
        occupancy_side=len(cells),
        density_scale=np.float32(settings.density_scale),
        density_gain=np.float32(settings.density_gain),
        blob_strength=np.float32(settings.blob_strength),
        blob_offset=np.float32(settings.blob_offset),
        mix=tuple(_flat(settings.colour_gain * correlation())),
    )
    return scene


def _bundle(spans: Spans, samples: int, jitter: Tensor) -> "Bundle":
    """Lay rays out for the loops."""
    fractions = torch.linspace(0.0, 1.0, samples + 1)
    parts = (spans.rays.origins, spans.rays.directions, spans.near, spans.far, fractions, jitter)
    bundle: Bundle = _kernels().Bundle(*(part.contiguous().numpy() for part in parts))
    return bundle


def _order(hits: "Integers", total: int, width: int) -> "Integers":
    """Return the order (m,) in which rays have their turn, given which of all pixels (m,) they are."""
    rays = np.full(total, -1)
    rays[hits] = np.arange(len(hits))
    turns = rays[_in_squares(total, width)]
    return turns[turns >= 0]


@lru_cache(maxsize=4)
def _in_squares(total: int, width: int) -> "Integers":
    """Return all pixels (total,) of pictures below each other, square by square."""
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


def _in_threads(work: Callable[[int, int], None], parts: int) -> None:
    """Do work(part, parts) for each part in a thread of its own.

    Plain threads, which the loops let run side by side. Numba's own would abort the process on some of its layers when
    a preview renders beside a training, and would compete with torch's on the others.
    """
    if parts == 1:
        work(0, 1)
        return
    with ThreadPoolExecutor(parts - 1) as pool:
        others = [pool.submit(work, part, parts) for part in range(1, parts)]
        work(0, parts)
    for other in others:
        other.result()


def _kernels() -> Any:
    """Import the loops over rays when they are first needed, as Numba takes its time.

    Raises:
        ImportError: Numba is missing, or does not fit the NumPy that is there.
    """
    from dreamfields.render import kernels

    return kernels


def _pyramid() -> Any:
    """Import the loops over nodes, like those over rays."""
    from dreamfields.render import pyramid

    return pyramid
