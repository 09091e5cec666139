"""The fast path on a CPU: rays of a voxel field rendered by compiled loops, differentiably.

Same samples, same pictures and same gradients as `renderer.render_rays`, the readable definition, up to the rounding
of float32; several times faster, and in a fraction of the memory.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamfields.render.sampling import Spans, draw_jitter, find_spans
from dreamfields.scene.colour import correlation
from dreamfields.scene.fields.base import AbstractField
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import VoxelSettings

if TYPE_CHECKING:
    from dreamfields.render.kernels import Bundle, Scene

_RAYS_A_THREAD = 256
"""Fewer are done sooner than another thread is started."""
_BUFFER_BYTES = 2**28
"""The most that all threads' gradients may take."""


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


def render_rays_fused(
    grid: Tensor,
    settings: VoxelSettings,
    rays: Rays,
    samples: int,
    *,
    occupancy: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return premultiplied colour, opacity and depth of rays, (n, 5), as `renderer.render_rays` does.

    Args:
        grid: the field's collapsed grid (4, n+1, n+1, n+1).
        settings: how its values become density and colour.
        rays: n rays.
        samples: samples a ray.
        occupancy: cells that may hold density, bool (k, k, k); None samples everywhere.
        generator: source of the jitter within each bin; None samples the middles.
    """
    spans = find_spans(rays, occupancy)
    jitter = torch.empty(0, samples) if generator is None else draw_jitter(len(spans), samples, generator)
    cells = torch.ones(1, 1, 1, dtype=torch.bool) if occupancy is None else occupancy
    pixels: Tensor = _March.apply(grid, settings, cells, _bundle(spans, samples, jitter))  # type: ignore[no-untyped-call]
    return spans.put_back(pixels)


class _March(torch.autograd.Function):
    """From the collapsed grid (4, n+1, n+1, n+1) to the pixels (m, 5) of the rays that hit, and back."""

    @staticmethod
    def forward(ctx: Any, grid: Tensor, settings: VoxelSettings, cells: Tensor, bundle: "Bundle") -> Tensor:
        integrate, part = _kernels().integrate, _kernels().Part
        scene = _scene(grid, settings, cells)
        ctx.scene, ctx.bundle = scene, bundle
        pixels = np.empty((len(bundle.near), 5), np.float32)
        parts = _parts(len(pixels))
        _in_threads(lambda first: integrate(scene, bundle, part(first, parts), pixels), parts)
        return torch.from_numpy(pixels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pulls: Tensor) -> tuple[Tensor, None, None, None]:
        differentiate, part = _kernels().differentiate, _kernels().Part
        scene, bundle, wanted = ctx.scene, ctx.bundle, pulls.contiguous().numpy()
        # A buffer a thread, and their sum in a fixed order: the same gradient, to the bit, whoever is first.
        parts = min(_parts(len(wanted)), max(1, _BUFFER_BYTES // scene.nodes.nbytes))
        buffers = torch.zeros(parts, len(scene.nodes))
        rows = buffers.numpy()
        _in_threads(lambda first: differentiate(scene, bundle, part(first, parts), wanted, rows[first]), parts)
        total = buffers[0] if parts == 1 else buffers.sum(dim=0)
        return total.reshape(scene.side, scene.side, scene.side, 4).permute(3, 0, 1, 2), None, None, None


def _scene(grid: Tensor, settings: VoxelSettings, cells: Tensor) -> "Scene":
    """Lay a field out for the kernels: the 4 channels of a node together, as they are always used together."""
    scene: Scene = _kernels().Scene(
        nodes=grid.permute(1, 2, 3, 0).reshape(-1).numpy(),
        side=grid.shape[1],
        occupancy=cells.contiguous().numpy(),
        density_scale=np.float32(settings.density_scale),
        density_gain=np.float32(settings.density_gain),
        blob_strength=np.float32(settings.blob_strength),
        blob_offset=np.float32(settings.blob_offset),
        mix=(settings.colour_gain * correlation()).reshape(-1).numpy(),
    )
    return scene


def _bundle(spans: Spans, samples: int, jitter: Tensor) -> "Bundle":
    """Lay rays out for the kernels."""
    fractions = torch.linspace(0.0, 1.0, samples + 1)
    parts = (spans.rays.origins, spans.rays.directions, spans.near, spans.far, fractions, jitter)
    bundle: Bundle = _kernels().Bundle(*(part.contiguous().numpy() for part in parts))
    return bundle


def _parts(rays: int) -> int:
    return max(1, min(torch.get_num_threads(), rays // _RAYS_A_THREAD))


def _in_threads(work: Callable[[int], None], parts: int) -> None:
    """Do work(0), ..., work(parts - 1), each in a thread of its own.

    Plain threads, which the kernels let run side by side. Numba's own threads would abort the process when a preview
    renders beside a training on some of its layers, and would compete with torch's on the others.
    """
    if parts == 1:
        work(0)
        return
    with ThreadPoolExecutor(parts - 1) as pool:
        others = [pool.submit(work, part) for part in range(1, parts)]
        work(0)
        for other in others:
            other.result()


def _kernels() -> Any:
    """Import the compiled loops when they are first needed: Numba takes its time, and may be missing.

    Raises:
        ImportError: Numba is missing, or does not fit the NumPy that is there.
    """
    from dreamfields.render import kernels

    return kernels
