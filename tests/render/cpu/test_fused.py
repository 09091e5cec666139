"""The fast path on a CPU equals the readable definition: values, gradients, and whatever the settings."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.render.cpu import fused
from dreamfields.render.cpu.fused import render_rays_fused
from dreamfields.render.occupancy import occupied_cells
from dreamfields.render.renderer import Engine, render, render_rays, render_still
from dreamfields.render.settings import Jitter
from dreamfields.render.volume import MIDDLE, draw_jitter
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import Evaluator, FieldValues, Query
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.rays import Rays
from dreamfields.scene.settings import VoxelSettings
from tests.support.fields import SMALL, lines, random_voxels
from tests.support.reference import FormulaField, ball

FRONT = Camera(0.0, 0.0)
SEEDS = st.integers(0, 99)


class Seen(NamedTuple):
    """Pixels (n, 5), and the gradients of a random sum of them with respect to each grid."""

    pixels: Tensor
    gradients: list[Tensor]


def random_cells(cells: int, fraction: float, seed: int) -> Tensor:
    return torch.rand((cells, cells, cells), generator=torch.Generator().manual_seed(seed)) < fraction


def look(
    engine: Engine,
    field: VoxelField,
    rays: Rays,
    samples: int,
    *,
    jitter: Jitter | None = None,
    nudge_seed: int | None = None,
    **options: Any,
) -> Seen:
    generator = torch.Generator().manual_seed(0)
    options["jitter"] = MIDDLE if jitter is None else draw_jitter(len(rays), samples, jitter, generator)
    if engine == "reference":
        options.pop("width", None)
        evaluator = field.evaluator() if nudge_seed is None else nudged(field.evaluator(), nudge_seed)
        pixels = render_rays(evaluator, rays, samples, **options)
    else:
        nodes = fused.sum_levels(field)
        pixels = render_rays_fused(nodes, field.settings, rays, samples, **options)
    grad = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((pixels * grad).sum(), list(field.grids))
    return Seen(pixels.detach(), list(gradients))


def nudged(evaluator: Evaluator, seed: int) -> Evaluator:
    """Return an evaluator of points x whose x + 1 is off by one rounding of float32, up or down at random."""
    generator = torch.Generator().manual_seed(seed)

    def evaluate(query: Query) -> FieldValues:
        signs = torch.randint(2, query.points.shape, generator=generator) * 2.0 - 1.0
        return evaluator(replace(query, points=query.points + signs * 2.0**-23))

    return evaluate


def rounding_errors(field: VoxelField, rays: Rays, samples: int, **options: Any) -> list[float]:
    """Return by how much rounding alone can change the pixels and each gradient.

    That is some times what the reference itself changes by when its points are off by one rounding. In a gradient,
    moreover, T e g.q and the sum behind a sample cancel in opaque fields, as 1 - c does in saturated colours: up to a
    rounding, which is then multiplied by the slope of the density and the length of the bin, or the gain of colours.
    """
    slow, *others = (look("reference", field, rays, samples, nudge_seed=seed, **options) for seed in (None, 0, 1))
    changes = [
        max(float((part - mine).abs().max()) for part in parts)
        for mine, *parts in zip(*([one.pixels, *one.gradients] for one in (slow, *others)), strict=True)
    ]
    slope = field.settings.density_scale * field.settings.density_gain
    cancelled = 2.0**-23 * (slope * 2.0 * 3.0**0.5 / samples + field.settings.colour_gain)
    return [4.0 * changes[0], *(4.0 * change + cancelled for change in changes[1:])]


def assert_same(one: Seen, other: Seen, errors: list[float] | None = None) -> None:
    """Equal up to rounding, of a gradient as a whole: its parts cancel."""
    of_pixels, *of_gradients = errors or [0.0] * (1 + len(other.gradients))
    assert one.pixels.isfinite().all()
    assert torch.allclose(one.pixels, other.pixels, rtol=1e-5, atol=1e-5 + of_pixels)
    for mine, theirs, error in zip(one.gradients, other.gradients, of_gradients, strict=True):
        assert mine.isfinite().all()
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5 * max(1.0, float(theirs.abs().max())) + error)


def assert_identical(one: Seen, other: Seen) -> None:
    assert torch.equal(one.pixels, other.pixels)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one.gradients, other.gradients, strict=True))


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
any_jitter = st.sampled_from([None, "ray", "sample"])
any_termination = st.sampled_from([0.0, 1e-3, 0.3])


@given(
    any_settings, any_camera, any_occupancy, st.integers(1, 70), any_jitter, any_termination, st.integers(1, 9), SEEDS
)
@example(VoxelSettings(), FRONT, None, 48, "ray", 1e-3, 7, 0)
@example(VoxelSettings(), FRONT, random_cells(32, 0.1, 0), 1, "sample", 1e-3, 7, 0)
def test_pixels_and_gradients_equal_the_reference(
    settings: VoxelSettings,
    camera: Camera,
    occupancy: Tensor | None,
    samples: int,
    jitter: Jitter | None,
    termination: float,
    width: int,
    seed: int,
) -> None:
    field, rays = random_voxels(settings, seed=seed), camera.rays(7)
    options: dict[str, Any] = {"occupancy": occupancy, "jitter": jitter, "termination": termination}
    fast = look("auto", field, rays, samples, width=width, **options)
    assert_same(
        fast, look("reference", field, rays, samples, **options), rounding_errors(field, rays, samples, **options)
    )


@pytest.mark.parametrize("seed", range(12))
def test_with_the_settings_of_the_presets_rounding_needs_no_allowance(seed: int) -> None:
    field, rays = random_voxels(VoxelSettings(), seed=seed), Camera(30.0 * seed, 5.0 * seed, 4.0, 34.0).rays(7)
    jitter: Jitter = "ray" if seed % 2 else "sample"
    options: dict[str, Any] = {"jitter": jitter, "termination": 1e-3, "occupancy": random_cells(8, seed / 11.0, seed)}
    fast = look("auto", field, rays, 24, **options)
    assert_same(fast, look("reference", field, rays, 24, **options))


@given(st.sampled_from([1e1, 1e3, 1e6, 1e12, 1e30]), any_camera, st.integers(1, 40), st.integers(0, 99))
def test_extreme_fields_stay_finite_and_equal(spread: float, camera: Camera, samples: int, seed: int) -> None:
    field = random_voxels(VoxelSettings(coarsest_cells=2, levels=2), spread, seed)
    # To their ends: rounding decides whether a ray ends one sample earlier, and here a sample can weigh anything.
    fast = look("auto", field, camera.rays(5), samples, termination=0.0)
    slow = look("reference", field, camera.rays(5), samples, termination=0.0)
    for one, other in zip([fast.pixels, *fast.gradients], [slow.pixels, *slow.gradients], strict=True):
        assert one.isfinite().all()
        assert torch.allclose(one, other, atol=1e-4 * max(1.0, float(other.abs().max())))
    assert fast.pixels[:, :4].min() >= 0.0
    assert fast.pixels[:, :4].max() <= 1.0 + 1e-5


@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.0, 0.6, 1.7]), st.integers(1, 3), st.integers(0, 99))
@example(4, 5, 0.6, 3, 0)
def test_the_collapsed_grid_is_that_of_the_field(cells: int, levels: int, scale: float, count: int, seed: int) -> None:
    field = random_voxels(VoxelSettings(coarsest_cells=cells, levels=levels, level_scale=scale), seed=seed)
    slow = field.sum_levels().permute(1, 2, 3, 0)
    with threads(count):
        fast = fused.sum_levels(field)
        assert torch.allclose(fast, slow, rtol=1e-6, atol=1e-6)
        grad = torch.randn(fast.shape, generator=torch.Generator().manual_seed(seed))
        of_fast = torch.autograd.grad((fast * grad).sum(), list(field.grids))
    of_slow = torch.autograd.grad((slow * grad).sum(), list(field.grids))
    for one, other in zip(of_fast, of_slow, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-4)


def test_nothing_occupied_gives_nothing_and_a_gradient_of_0() -> None:
    seen = look("auto", random_voxels(), FRONT.rays(4), 5, occupancy=torch.zeros(2, 2, 2, dtype=torch.bool))
    assert seen.pixels.shape == (16, 5)
    assert float(seen.pixels.abs().sum()) == 0.0
    assert all(float(gradient.abs().sum()) == 0.0 for gradient in seen.gradients)


def test_rays_that_miss_see_nothing_and_pull_nothing() -> None:
    rays = FRONT.rays(4)
    seen = look("auto", random_voxels(), lines(rays.origins, -rays.directions), 5, jitter="ray")
    assert float(seen.pixels.abs().sum()) == 0.0
    assert all(float(gradient.abs().sum()) == 0.0 for gradient in seen.gradients)


def test_what_is_not_finite_shows() -> None:
    field = random_voxels()
    with torch.no_grad():
        field.grids[0][1, 1, 1] = torch.nan
    assert look("auto", field, FRONT.rays(5), 20).pixels.isnan().any()


def test_strange_rays_stay_within_the_arrays() -> None:
    origins = torch.tensor([[torch.nan, 0.0, 4.0], [1e30, 0.0, 4.0], [0.0, 0.0, torch.inf], [0.0, 0.0, 4.0]])
    rays = lines(origins, torch.tensor([[0.0, 0.0, -1.0]]).expand(4, 3))
    pixels = render_rays_fused(fused.sum_levels(random_voxels()), SMALL, rays, 9, occupancy=random_cells(4, 0.9, 0))
    assert pixels[3, 3] > 0.0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_same_threads_give_the_same_bits_and_others_the_same_to_rounding(count: int) -> None:
    field, rays = random_voxels(VoxelSettings(levels=4)), FRONT.rays(30)
    options: dict[str, Any] = {"occupancy": random_cells(8, 0.5, 0), "jitter": "ray", "width": 30}
    alone = look("auto", field, rays, 24, **options)
    with threads(count):
        first = look("auto", field, rays, 24, **options)
        for _ in range(3):
            assert_identical(look("auto", field, rays, 24, **options), first)
    assert torch.equal(first.pixels, alone.pixels)
    assert_same(first, alone)


def test_fewer_gradients_than_threads_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    field, rays = random_voxels(), FRONT.rays(30)
    plenty = look("auto", field, rays, 10)
    monkeypatch.setattr(fused, "_GRADIENT_BYTES", 1)
    with threads(2):
        assert_same(look("auto", field, rays, 10), plenty)


@pytest.mark.parametrize("seed", [None, 0])
def test_pictures_are_the_same_by_either_way(seed: int | None) -> None:
    field, cameras = random_voxels(), [Camera(30.0, 20.0), Camera(200.0, -10.0, fov_deg=60.0)]
    occupancy = occupied_cells(field, 8, 0.5)

    def picture(engine: Engine) -> Tensor:
        jitter = MIDDLE if seed is None else draw_jitter(162, 16, "ray", torch.Generator().manual_seed(seed))
        seen = render(field, cameras, 9, 16, occupancy=occupancy, jitter=jitter, engine=engine)
        return torch.cat([seen.colour, seen.opacity, seen.depth], dim=1)

    assert torch.allclose(picture("auto"), picture("reference"), rtol=1e-5, atol=1e-5)
    assert torch.equal(picture("auto"), picture("auto"))


@pytest.mark.parametrize("ray_batch_size", [1, 10, 10_000])
def test_stills_are_the_same_by_either_way(ray_batch_size: int) -> None:
    field = random_voxels()
    fast = render_still(field, FRONT, 6, 30, ray_batch_size=ray_batch_size)
    slow = render_still(field, FRONT, 6, 30, engine="reference")
    for one, other in zip(vars(fast).values(), vars(slow).values(), strict=True):
        assert not one.requires_grad
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_preview_beside_a_training_changes_neither() -> None:
    trained, shown = random_voxels(seed=1), random_voxels(seed=2)
    with threads(2):
        step = look("auto", trained, FRONT.rays(32), 24, jitter="sample")
        still = render_still(shown, FRONT, 32, 24).colour
        stills: list[Tensor] = []
        stop = threading.Event()

        def preview() -> None:
            torch.set_num_threads(2)
            while not stop.is_set():
                stills.append(render_still(shown, FRONT, 32, 24).colour)

        beside = threading.Thread(target=preview)
        beside.start()
        try:
            steps = [look("auto", trained, FRONT.rays(32), 24, jitter="sample") for _ in range(15)]
        finally:
            stop.set()
            beside.join()
    for one in steps:
        assert_identical(one, step)
    assert stills
    assert all(torch.equal(one, still) for one in stills)


def test_only_what_the_loops_can_do_is_asked_of_them() -> None:
    assert fused.usable(random_voxels())
    assert not fused.usable(FormulaField(ball((0.0, 0.0, 0.0), 0.5, 1.0)))
    assert not fused.usable(random_voxels().double())
    assert not fused.usable(random_voxels().to("meta"))


def reference_picture(field: VoxelField) -> Tensor:
    return render(field, [FRONT], 5, 9, jitter=torch.full((1, 1), 0.3), engine="reference").colour


@pytest.mark.usefixtures("without_numba")
def test_without_numba_the_reference_renders() -> None:
    field = random_voxels()
    assert not fused.usable(field)
    picture = render(field, [FRONT], 5, 9, jitter=torch.full((1, 1), 0.3)).colour
    assert torch.equal(picture, reference_picture(field))
    picture.sum().backward()
    assert render_still(field, FRONT, 5, 9).colour.shape == (1, 3, 5, 5)


def test_the_reference_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Tensor:
        raise AssertionError("the fast path was taken")

    monkeypatch.setattr(fused, "render_rays_fused", refuse)
    field = random_voxels()
    assert reference_picture(field).shape == (1, 3, 5, 5)
    render_still(field, FRONT, 5, 9, engine="reference")
    with pytest.raises(AssertionError, match="the fast path was taken"):
        render(field, [FRONT], 5, 9)
