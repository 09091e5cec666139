"""From cameras and a field to images: intersect, sample, query, integrate."""

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
from dreamfields.render.settings import TERMINATION, RenderSettings
from dreamfields.render.volume import MIDDLE, bin_edges, distances_in, draw_jitter, find_span
from dreamfields.reprs import short_repr
from dreamfields.scene.cameras import Camera, rays_of
from dreamfields.scene.fields.base import AbstractField, Evaluator, Query
from dreamfields.scene.rays import Rays

Engine = Literal["auto", "reference"]
"""How rays are rendered: the fastest way there is, or by `render_rays`, the readable reference."""


@dataclass(frozen=True)
class Rendering:
    """What b cameras see, before any background."""

    colour: Tensor  # (b, 3, h, w) in [0, 1], premultiplied by opacity
    opacity: Tensor  # (b, 1, h, w) in [0, 1]
    depth: Tensor  # (b, 1, h, w) distance along the ray in scene units, premultiplied by opacity

    __repr__ = short_repr

    @classmethod
    def of_pixels(cls, pixels: Tensor, size: int) -> "Rendering":
        """Arrange the colour, opacity and depth (n, 5) of rays as images of size^2 pixels."""
        images = pixels.T.reshape(5, -1, size, size).transpose(0, 1)
        return cls(*images.split((3, 1, 1), dim=1))

    def over(self, background: Tensor | float) -> Tensor:
        """Return the images (b, 3, h, w) over a background: a broadcastable tensor, or one grey level in [0, 1]."""
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
    """Render a field from b cameras in size^2 pixels each, differentiably with respect to the field.

    `samples` on each ray are in the cells that may hold density, `occupancy` bool (k, k, k), or with None in the whole
    cube. `jitter` is u of `volume`, (n, samples), (n, 1) or (1, 1) for n = b size^2 rays. A ray ends where its
    transmittance is `termination`.
    """
    rays, trace = rays_of(cameras, size).to(_device_of(field)), _tracer(field, engine, size)
    pixels = trace(rays, samples, occupancy=occupancy, jitter=jitter, termination=termination)
    return Rendering.of_pixels(pixels, size)


def render_jittered(
    field: AbstractField,
    cameras: Sequence[Camera],
    settings: RenderSettings,
    occupancy: Tensor | None,
    generator: torch.Generator,
) -> Rendering:
    """Render the views of a training step: as `render`, with samples at random places in their bins."""
    size, samples, termination = settings.size, settings.samples, settings.termination
    jitter = draw_jitter(len(cameras) * size**2, samples, settings.jitter, generator)
    return render(field, cameras, size, samples, occupancy=occupancy, jitter=jitter, termination=termination)


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
    """Render one image of any size without noise or gradients, `ray_batch_size` rays at a time."""
    rays, trace = camera.rays(size).to(_device_of(field)), _tracer(field, engine, size)
    starts = range(0, len(rays), ray_batch_size)
    pixels = [trace(rays[start : start + ray_batch_size], samples, occupancy=occupancy) for start in starts]
    return Rendering.of_pixels(torch.cat(pixels), size)


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
    """Return premultiplied colour, opacity and depth of n rays: (n, 5); the readable reference.

    Samples lie inside the scene cube (Dream Fields sec. 3.4), or with an occupancy inside the box around its occupied
    cells, and without bounds in a shell around the centre; a ray that misses has opacity 0. Only samples in occupied
    cells are evaluated, packed in one query. Where the transmittance is at most `termination` they do not count.
    """
    # 1. Intersect.
    near, far = find_span(rays, occupancy, bounded)

    # 2. Sample.
    edges = bin_edges(near, far, samples)
    lengths = edges[:, 1:] - edges[:, :-1]
    distances = distances_in(edges, jitter)
    points = rays.at(distances)

    # 3. Query the field at the samples that count, and scatter its values back to their rays.
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
    opacity, depth = volume.opacity_from_weights(weights), volume.depth_from_weights(weights, distances)
    return torch.cat([colour, opacity[:, None], depth[:, None]], dim=-1)


def _tracer(field: AbstractField, engine: Engine, size: int) -> Callable[..., Tensor]:
    """Return `render_rays` for a field in its present state and rays of images of `size` pixels a side."""
    if engine == "auto" and fused.usable(field):
        return partial(fused.render_rays_fused, fused.sum_levels(field), field.settings, width=size)
    return partial(render_rays, field.evaluator(), bounded=field.bounded)


def _device_of(field: AbstractField) -> torch.device:
    return next(chain(field.parameters(), field.buffers())).device
