"""The fast path on a CPU equals the readable definition: values, gradients, and whatever the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.render import fused
from dreamfields.render.fused import render_rays_fused
from dreamfields.render.renderer import Engine, render_rays
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import VoxelSettings

FRONT = Camera(0.0, 0.0)


class Seen(NamedTuple):
    """Pixels (n, 5), and the gradients of a random sum of them with respect to each grid."""

    pixels: Tensor
    gradients: list[Tensor]


def random_field(settings: VoxelSettings, spread: float, seed: int) -> VoxelField:
    field = VoxelField(settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for grid in field.grids:
            grid.copy_(spread * torch.randn(grid.shape, generator=generator))
    return field


def random_cells(cells: int, share: float, seed: int) -> Tensor:
    return torch.rand((cells, cells, cells), generator=torch.Generator().manual_seed(seed)) < share


def look(
    engine: Engine, field: VoxelField, rays: Rays, samples: int, occupancy: Tensor | None, seed: int | None = None
) -> Seen:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    if engine == "reference":
        pixels = render_rays(field.evaluator(), rays, samples, occupancy=occupancy, generator=generator)
    else:
        nodes = fused.collapse(field)
        pixels = render_rays_fused(nodes, field.settings, rays, samples, occupancy=occupancy, generator=generator)
    pull = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((pixels * pull).sum(), list(field.grids))
    return Seen(pixels.detach(), list(gradients))


def assert_same(field: VoxelField, rays: Rays, samples: int, occupancy: Tensor | None, seed: int | None = None) -> None:
    fast = look("auto", field, rays, samples, occupancy, seed)
    slow = look("reference", field, rays, samples, occupancy, seed)
    assert fast.pixels.isfinite().all()
    assert torch.allclose(fast.pixels, slow.pixels, rtol=1e-5, atol=1e-5)
    for one, other in zip(fast.gradients, slow.gradients, strict=True):
        assert one.isfinite().all()
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * max(1.0, float(other.abs().max())))


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


any_settings = st.builds(
    VoxelSettings,
    coarsest_cells=st.integers(1, 5),
    levels=st.integers(1, 3),
    level_scale=st.sampled_from([0.0, 0.6, 1.0]),
    density_scale=st.sampled_from([0.01, 1.0, 10.0, 1000.0]),
    density_gain=st.sampled_from([0.01, 5.0, 100.0]),
    blob_strength=st.sampled_from([0.0, 5.0, 100.0]),
    blob_offset=st.sampled_from([-20.0, -1.0, 20.0]),
    colour_gain=st.sampled_from([0.01, 6.0, 100.0]),
)
any_camera = st.builds(
    Camera,
    azimuth_deg=st.floats(-360.0, 360.0),
    elevation_deg=st.floats(-89.0, 89.0),
    radius=st.sampled_from([0.0, 0.5, 2.0, 4.0]),
    fov_deg=st.sampled_from([1.0, 34.0, 60.0, 120.0]),
)
any_occupancy = st.one_of(
    st.none(), st.builds(random_cells, st.integers(1, 7), st.floats(0.0, 1.0), st.integers(0, 99))
)


@given(any_settings, any_camera, any_occupancy, st.integers(1, 70), st.none() | st.integers(0, 99), st.integers(0, 99))
@example(VoxelSettings(), FRONT, None, 48, 0, 0)
@example(VoxelSettings(), FRONT, random_cells(32, 0.1, 0), 1, 0, 0)
def test_pixels_and_gradients_equal_the_reference(
    settings: VoxelSettings, camera: Camera, occupancy: Tensor | None, samples: int, jitter: int | None, seed: int
) -> None:
    field = random_field(settings, 0.5, seed)
    assert_same(field, camera.rays(7), samples, occupancy, jitter)


@given(st.sampled_from([1e1, 1e3, 1e6, 1e12, 1e30]), any_camera, st.integers(1, 40), st.integers(0, 99))
def test_extreme_fields_stay_finite_and_equal(spread: float, camera: Camera, samples: int, seed: int) -> None:
    field = random_field(VoxelSettings(coarsest_cells=2, levels=2), spread, seed)
    fast = look("auto", field, camera.rays(5), samples, None)
    slow = look("reference", field, camera.rays(5), samples, None)
    for one, other in zip([fast.pixels, *fast.gradients], [slow.pixels, *slow.gradients], strict=True):
        assert one.isfinite().all()
        # Rounding within a grid value moves a pre-activation by its last bit, which is no longer small.
        assert torch.allclose(one, other, atol=1e-4 * max(1.0, float(other.abs().max())))
    assert fast.pixels[:, :4].min() >= 0.0
    assert fast.pixels[:, :4].max() <= 1.0 + 1e-5
