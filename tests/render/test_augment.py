"""Augmentation: nothing at zero strength, and each variation by hand, in its range and for each image alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.render import compose as module
from dreamfields.render.compose import augment, draw_augmentation
from dreamfields.render.settings import AugmentSettings
from tests.support.fields import seeded

STILL = AugmentSettings(
    scale=(1.0, 1.0),
    rotation_deg=0.0,
    shift=0.0,
    contrast=0.0,
    brightness=0.0,
    saturation=(1.0, 1.0),
    noise=0.0,
)
LIVELY = AugmentSettings(
    scale=(0.7, 1.1),
    rotation_deg=15.0,
    shift=0.1,
    contrast=0.2,
    brightness=0.1,
    saturation=(0.5, 1.5),
    noise=0.04,
)


def augmented(images: Tensor, size: int, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    return augment(images, draw_augmentation(len(images), size, settings, generator))


def warp(images: Tensor, size: int, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    return module.warp(images, size, draw_augmentation(len(images), size, settings, generator).theta)


def recolour(images: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    return module.recolour(images, draw_augmentation(len(images), 1, settings, generator).tone)


def spot(x: float, y: float, size: int = 64) -> Tensor:
    """A soft spot (1, 3, size, size) at (x, y) in shares of the side from the middle, x rightwards and y downwards."""
    axis = (torch.arange(size) + 0.5) / size - 0.5
    squared = (axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2
    return torch.exp(-0.5 * squared / 0.03**2).expand(1, 3, size, size)


def centres(images: Tensor) -> Tensor:
    """Return the centroids (b, 2) of images (b, 3, h, w) as x, y in shares of the side from the middle."""
    size = images.shape[-1]
    axis = (torch.arange(size) + 0.5) / size - 0.5
    light = images[:, 0]
    total = light.sum(dim=(1, 2))
    x = (light * axis[None, None, :]).sum(dim=(1, 2)) / total
    y = (light * axis[None, :, None]).sum(dim=(1, 2)) / total
    return torch.stack([x, y], dim=-1)


def moved(x: float, y: float, settings: AugmentSettings, copies: int = 200) -> Tensor:
    """Return where a spot lands (copies, 2) in as many draws; the draws are the same at every call."""
    images = spot(x, y).expand(copies, -1, -1, -1)
    return centres(warp(images, images.shape[-1], settings, seeded()))


def test_zero_strength_changes_nothing() -> None:
    images = torch.rand(3, 3, 16, 16)
    assert torch.allclose(augmented(images, 16, STILL, seeded()), images, atol=1e-5)


@pytest.mark.parametrize("size", [6, 12, 24, 31])
def test_zero_strength_only_resamples(size: int) -> None:
    images = torch.rand(2, 3, 12, 12)
    resized = functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    assert torch.allclose(augmented(images, size, STILL, seeded()), resized, atol=1e-5)
    if size == 6:
        assert torch.allclose(resized, functional.avg_pool2d(images, 2), atol=1e-5)


def test_geometry_commutes_with_resizing() -> None:
    images = spot(0.1, -0.15).expand(8, -1, -1, -1)
    small = centres(warp(images, 32, LIVELY, seeded()))
    large = centres(warp(images, 64, LIVELY, seeded()))
    assert torch.allclose(small, large, atol=2e-3)


@pytest.mark.parametrize(("scale", "landing"), [(0.5, 0.3), (0.75, 0.2), (1.5, 0.1)])
def test_a_scale_below_one_zooms_in_and_moves_what_is_off_centre_outward(scale: float, landing: float) -> None:
    images = spot(0.15, 0.0)
    out = warp(images, 64, replace(STILL, scale=(scale, scale)), seeded())
    if scale < 1.0:  # Zoomed out, the mirrored surroundings weigh in.
        assert centres(out)[0].tolist() == pytest.approx([landing, 0.0], abs=3e-3)
    peak = int(out[0, 0].flatten().argmax())
    assert ((peak % 64 + 0.5) / 64 - 0.5) == pytest.approx(landing, abs=1.0 / 64)


def test_scales_are_drawn_uniformly_between_their_bounds() -> None:
    scales = 0.2 / moved(0.2, 0.0, replace(STILL, scale=(0.6, 1.0)))[:, 0]
    assert scales.min().item() == pytest.approx(0.6, abs=0.02)
    assert scales.max().item() == pytest.approx(1.0, abs=0.02)
    assert scales.mean().item() == pytest.approx(0.8, abs=0.03)


def test_rotation_keeps_distances_and_handedness_and_turns_both_ways() -> None:
    settings = replace(STILL, rotation_deg=40.0)
    right, down = moved(0.25, 0.0, settings), moved(0.0, 0.25, settings)
    assert torch.allclose(right.norm(dim=-1), torch.tensor(0.25), atol=3e-3)
    assert torch.allclose(down, torch.stack([-right[:, 1], right[:, 0]], dim=-1), atol=3e-3)
    angles = torch.rad2deg(torch.atan2(right[:, 1], right[:, 0]))
    assert angles.min().item() == pytest.approx(-40.0, abs=2.0)
    assert angles.max().item() == pytest.approx(40.0, abs=2.0)
    assert angles.mean().item() == pytest.approx(0.0, abs=5.0)


def test_shifts_are_shares_of_the_side_drawn_for_each_axis() -> None:
    landed = moved(0.0, 0.0, replace(STILL, shift=0.2))
    assert landed.amin(dim=0).tolist() == pytest.approx([-0.2, -0.2], abs=0.01)
    assert landed.amax(dim=0).tolist() == pytest.approx([0.2, 0.2], abs=0.01)
    assert abs(float(torch.corrcoef(landed.T)[0, 1])) < 0.2


def test_scale_rotation_and_shift_are_one_similarity() -> None:
    settings = replace(STILL, scale=(0.8, 1.0), rotation_deg=25.0, shift=0.05)
    middle, right, down = (moved(x, y, settings) for x, y in [(0.0, 0.0), (0.2, 0.0), (0.0, 0.2)])
    along, across = right - middle, down - middle
    assert torch.allclose(across, torch.stack([-along[:, 1], along[:, 0]], dim=-1), atol=4e-3)
    scales, angles = 0.2 / along.norm(dim=-1), torch.atan2(along[:, 1], along[:, 0])
    # Each is drawn on its own.
    draws = torch.stack([scales, angles, middle[:, 0], middle[:, 1]])
    assert (torch.corrcoef(draws) - torch.eye(4)).abs().max() < 0.25


def test_what_lies_outside_is_mirrored_in() -> None:
    grey = torch.full((4, 3, 8, 8), 0.7)
    out = warp(grey, 8, replace(STILL, scale=(2.0, 2.0), rotation_deg=45.0), seeded())
    assert torch.allclose(out, grey, atol=1e-5)


def test_saturation_zero_is_grey_and_one_is_unchanged() -> None:
    images = torch.rand(2, 3, 5, 5)
    grey = recolour(images, replace(STILL, saturation=(0.0, 0.0)), seeded())
    assert torch.allclose(grey, images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1), atol=1e-6)
    assert torch.allclose(recolour(images, STILL, seeded()), images, atol=1e-6)


def test_saturation_is_a_factor_of_the_distance_from_grey_in_its_interval() -> None:
    images = torch.rand(1, 3, 2, 2).expand(300, -1, -1, -1)
    chroma = images - images.mean(dim=1, keepdim=True)
    out = recolour(images, replace(STILL, saturation=(0.5, 2.0)), seeded())
    ratios = ((out - out.mean(dim=1, keepdim=True)) / chroma).flatten(1)
    factors = ratios.mean(dim=1)
    assert torch.allclose(ratios, factors[:, None].expand_as(ratios), rtol=1e-2, atol=1e-2)
    assert factors.min().item() == pytest.approx(0.5, abs=0.03)
    assert factors.max().item() == pytest.approx(2.0, abs=0.03)
    assert torch.allclose(out.mean(dim=1), images.mean(dim=1), atol=1e-5)


def test_contrast_scales_about_the_mean_and_brightness_moves_it() -> None:
    images = torch.rand(1, 3, 4, 4).expand(300, -1, -1, -1)
    mean = images.mean()
    out = recolour(images, replace(STILL, contrast=0.3, brightness=0.2), seeded())
    brightness = out.mean(dim=(1, 2, 3)) - mean
    contrast = out.std(dim=(1, 2, 3)) / images[0].std()
    assert torch.allclose(
        out, mean + contrast[:, None, None, None] * (images - mean) + brightness[:, None, None, None], atol=1e-5
    )
    assert [float(brightness.min()), float(brightness.max())] == pytest.approx([-0.2, 0.2], abs=0.01)
    assert [float(contrast.min()), float(contrast.max())] == pytest.approx([0.7, 1.3], abs=0.01)
    assert abs(float(torch.corrcoef(torch.stack([brightness, contrast]))[0, 1])) < 0.2


def test_noise_has_its_deviation_and_no_mean() -> None:
    grey = torch.full((2, 3, 50, 50), 0.5)
    noise = augmented(grey, 50, replace(STILL, noise=0.1), seeded()) - grey
    assert noise.std().item() == pytest.approx(0.1, rel=0.03)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.003)


def test_pictures_stay_in_range() -> None:
    strong = AugmentSettings(contrast=1.0, brightness=1.0, saturation=(5.0, 10.0), noise=1.0)
    out = augmented(torch.rand(4, 3, 10, 10), 10, strong, seeded())
    assert out.min() == 0.0
    assert out.max() == 1.0


def test_every_image_has_draws_of_its_own_and_the_same_generator_gives_the_same() -> None:
    images = torch.rand(1, 3, 12, 12).expand(4, -1, -1, -1)
    for settings in (
        replace(STILL, scale=(0.5, 1.0)),
        replace(STILL, rotation_deg=20.0),
        replace(STILL, shift=0.2),
        replace(STILL, contrast=0.5),
        replace(STILL, brightness=0.5),
        replace(STILL, saturation=(0.0, 2.0)),
        replace(STILL, noise=0.1),
    ):
        out = augmented(images, 12, settings, seeded(1))
        assert torch.equal(out, augmented(images, 12, settings, seeded(1)))
        assert not torch.equal(out, augmented(images, 12, settings, seeded(2)))
        assert all(not torch.allclose(out[0], other, atol=1e-4) for other in out[1:])


def test_gradients_flow_to_the_pictures() -> None:
    images = (0.4 + 0.2 * torch.rand(2, 3, 10, 10)).requires_grad_()
    augmented(images, 20, LIVELY, seeded()).square().mean().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert float((images.grad != 0.0).float().mean()) > 0.5


def test_at_zero_strength_a_pixel_s_gradient_is_that_of_resampling() -> None:
    images = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    augmented(images, 4, STILL, seeded()).sum().backward()
    assert images.grad is not None
    assert math.isclose(float(images.grad.sum()), images.numel(), rel_tol=1e-4)
    assert torch.allclose(images.grad, torch.ones_like(images), atol=1e-3)
