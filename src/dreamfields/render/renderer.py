"""From cameras and a field to pictures: intersect, sample, query, integrate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal

import torch
from torch import Tensor

from dreamfields.render import volume
from dreamfields.render.cpu import fused
from dreamfields.render.occupancy import is_occupied
from dreamfields.render.sampling import MIDDLE, bin_edges, distances_in, draw_jitter, find_span
from dreamfields.render.settings import TERMINATION, RenderSettings
from dreamfields.scene.cameras import Camera, rays_of
from dreamfields.scene.fields.base import AbstractField, Evaluator, Query
from dreamfields.scene.rays import Rays

Engine = Literal["auto", "reference"]
"""How rays are rendered: the fastest way there is, or always `render_rays`, which defines what every way must give."""

_Tracer = Callable[..., Tensor]
"""`render_rays`, or what equals it, but for its first argument."""


@dataclass(frozen=True)
class Rendering:
    """What b cameras see, before any background."""

    colour: Tensor
    """(b, 3, h, w) in [0, 1], premultiplied by opacity."""
    opacity: Tensor
    """(b, 1, h, w) in [0, 1]."""
    depth: Tensor
    """(b, 1, h, w) distance along the ray in scene units, premultiplied by opacity."""

    def over(self, background: Tensor | float) -> Tensor:
        """Return the pictures (b, 3, h, w) over a background: a broadcastable tensor, or one grey level in [0, 1]."""
        filled = torch.as_tensor(background, dtype=self.colour.dtype, device=self.colour.device)
        return volume.composite(self.colour, self.opacity, filled)


def render(
    field: AbstractField,
    cameras: Sequence[Camera],
    size: int,
    samples: int,
    *,
    occupancy: Tensor | None = None,
    jitter: Tensor = MIDDLE,
    termination: float = TERMINATION,
    engine: Engine = "auto",
) -> Rendering:
    """Render a field from several cameras, differentiably with respect to the field.

    Args:
        field: what is there.
        cameras: b cameras.
        size: pixels a side.
        samples: samples a ray inside the scene cube.
        occupancy: cells that may hold density, bool (k, k, k); None samples everywhere.
        jitter: where in their bins samples lie, (n, samples), (n, 1) or (1, 1) for n = len(cameras) size^2 rays; see
            `sampling`.
        termination: transmittance at which a ray ends.
        engine: `reference` for the readable definition, where its rounding or its speed is in question.
    """
    rays = rays_of(cameras, size).to(_device_of(field))
    trace = _tracer(field, engine, size)
    pixels = trace(rays, samples, occupancy=occupancy, jitter=jitter, termination=termination)
    picture = pixels.reshape(len(cameras), size, size, 5).permute(0, 3, 1, 2)
    return Rendering(*picture.split((3, 1, 1), dim=1))


def render_jittered(
    field: AbstractField,
    cameras: Sequence[Camera],
    settings: RenderSettings,
    occupancy: Tensor | None,
    draws: torch.Generator,
) -> Rendering:
    """Render the views of a training step as `render` does, each sample moved within its bin by a draw."""
    return render(
        field,
        cameras,
        settings.size,
        settings.samples,
        occupancy=occupancy,
        jitter=draw_jitter(len(cameras) * settings.size**2, settings.samples, settings.jitter, draws),
        termination=settings.termination,
    )


@torch.no_grad()
def render_still(
    field: AbstractField,
    camera: Camera,
    size: int,
    samples: int = 128,
    *,
    occupancy: Tensor | None = None,
    ray_batch_size: int = 16_384,
    engine: Engine = "auto",
) -> Rendering:
    """Render one picture of any size without noise or gradients, a bounded number of rays at a time."""
    rays = camera.rays(size).to(_device_of(field))
    trace = _tracer(field, engine, size)
    chunks = [
        trace(rays[start : start + ray_batch_size], samples, occupancy=occupancy)
        for start in range(0, len(rays), ray_batch_size)
    ]
    picture = torch.cat(chunks).reshape(1, size, size, 5).permute(0, 3, 1, 2)
    return Rendering(*picture.split((3, 1, 1), dim=1))


def render_rays(
    evaluator: Evaluator,
    rays: Rays,
    samples: int,
    *,
    occupancy: Tensor | None = None,
    jitter: Tensor = MIDDLE,
    termination: float = TERMINATION,
    bounded: bool = True,
) -> Tensor:
    """Return premultiplied colour, opacity and depth of rays: (n, 5).

    Samples lie inside the scene cube (Dream Fields sec. 3.4), and with an occupancy inside the box around its occupied
    cells: rays that miss the box see nothing, and the samples of the others lie closer together. Only samples in
    occupied cells are asked of the field; they travel packed, one after another. What lies where no more light than
    `termination` arrives is not seen. Without bounds samples lie in a shell around the middle, inside the cube or not.
    """
    # 1. Intersect.
    near, far = find_span(rays, occupancy, bounded)

    # 2. Sample.
    edges = bin_edges(near, far, samples)
    lengths = edges[:, 1:] - edges[:, :-1]
    distances = distances_in(edges, jitter)
    points = rays.at(distances)

    # 3. Query the field at the samples that count, then put its answers back on their rays.
    wanted = (far > near)[:, None].expand_as(lengths)
    if occupancy is not None:
        wanted = wanted & is_occupied(occupancy, points)
    packed = wanted.reshape(-1).nonzero()[:, 0]
    of_ray = torch.div(packed, samples, rounding_mode="floor")
    query = Query(
        points=points.reshape(-1, 3)[packed],
        directions=rays.directions[of_ray],
        lengths=lengths.reshape(-1)[packed],
        radii=rays.radii[of_ray] * distances.reshape(-1)[packed],
    )
    values = evaluator(query)
    answers = torch.cat([values.density[:, None], values.colour], dim=-1)
    dense = torch.zeros(wanted.numel(), 4, dtype=answers.dtype, device=answers.device)
    dense = dense.index_copy(0, packed, answers).reshape(*wanted.shape, 4)

    # 4. Integrate.
    weights = volume.weights_from_density(dense[..., 0], lengths, termination)
    colour = volume.colour_from_weights(weights, dense[..., 1:])
    opacity = volume.opacity_from_weights(weights)
    depth = volume.depth_from_weights(weights, distances)
    return torch.cat([colour, opacity[:, None], depth[:, None]], dim=-1)


def _tracer(field: AbstractField, engine: Engine, size: int) -> _Tracer:
    """Prepare the present state of a field and return what renders rays of it, those of pictures of a size."""
    if engine == "auto" and fused.usable(field):
        return partial(fused.render_rays_fused, fused.sum_levels(field), field.settings, width=size)
    return partial(render_rays, field.evaluator(), bounded=field.bounded)


def _device_of(field: AbstractField) -> torch.device:
    return next(chain(field.parameters(), field.buffers())).device
