"""Pictures for guides: views over backgrounds, varied; the compiled loop equals the readable definition."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.render.compose import (
    Augmentation,
    compose_views,
    compose_views_reference,
    draw_augmentation,
    in_grey,
    usable,
)
from dreamfields.render.renderer import Rendering
from dreamfields.render.settings import AugmentSettings
from tests.support.fields import seeded

WILD = AugmentSettings(scale=(0.3, 4.0), rotation_deg=180.0, shift=1.0, contrast=0.9, brightness=0.5, noise=0.2)
STILL = AugmentSettings(
    scale=(1.0, 1.0), rotation_deg=0.0, shift=0.0, contrast=0.0, brightness=0.0, saturation=(1.0, 1.0), noise=0.0
)


def views(count: int, side: int, seed: int = 0) -> Rendering:
    """Random views that ask for their gradient."""
    source = seeded(seed)
    opacity = torch.rand((count, 1, side, side), generator=source)
    colour = opacity * torch.rand((count, 3, side, side), generator=source)
    return Rendering(colour.requires_grad_(), opacity.requires_grad_(), torch.zeros_like(opacity))


def both_ways(fast: bool, seen: Rendering, backgrounds: Tensor, augmentation: Augmentation) -> list[Tensor]:
    """Return pictures, and the gradients of a random sum of them for colour and opacity."""
    pictures = (compose_views if fast else compose_views_reference)(seen, backgrounds, augmentation)
    grad = torch.randn(pictures.shape, generator=seeded(1))
    return [pictures.detach(), *torch.autograd.grad((pictures * grad).sum(), (seen.colour, seen.opacity))]


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(2, 9),
    st.integers(1, 20),
    st.sampled_from([AugmentSettings(), WILD, STILL]),
    st.integers(0, 99),
)
def test_the_loop_equals_the_definition_in_values_and_gradients(
    count: int, copies: int, side: int, size: int, settings: AugmentSettings, seed: int
) -> None:
    seen, source = views(count, side, seed), seeded(seed)
    backgrounds = torch.rand((count * copies, 3, side, side), generator=source)
    augmentation = draw_augmentation(count * copies, size, settings, source)
    for fast, plain in zip(
        both_ways(True, seen, backgrounds, augmentation), both_ways(False, seen, backgrounds, augmentation), strict=True
    ):
        assert torch.allclose(fast, plain, rtol=1e-4, atol=2e-5 * max(1.0, float(plain.abs().max())))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(threads: int) -> None:
    seen, backgrounds = views(3, 8), torch.rand((6, 3, 8, 8), generator=seeded())
    augmentation = draw_augmentation(6, 12, AugmentSettings(), seeded())
    alone = both_ways(True, seen, backgrounds, augmentation)
    torch.set_num_threads(threads)
    assert all(map(torch.equal, both_ways(True, seen, backgrounds, augmentation), alone))


def test_unvaried_pictures_are_views_over_their_backgrounds_in_turn() -> None:
    seen, backgrounds = views(2, 6), torch.rand(4, 3, 6, 6)
    pictures = compose_views(seen, backgrounds, draw_augmentation(4, 6, STILL, seeded()))
    for index, picture in enumerate(pictures):
        own = seen.colour[index % 2] + (1.0 - seen.opacity[index % 2]) * backgrounds[index]
        assert torch.allclose(picture, own, atol=1e-5)


def test_what_is_clipped_has_no_gradient_and_what_is_not_finite_shows() -> None:
    seen, bright = views(1, 4), replace(STILL, brightness=1.0)
    backgrounds = torch.rand(1, 3, 4, 4)
    augmentation = draw_augmentation(1, 4, bright, seeded())
    augmentation.tone[:, 2] = 5.0
    pictures, of_colour, of_opacity = both_ways(True, seen, backgrounds, augmentation)
    assert (pictures == 1.0).all()
    assert float(of_colour.abs().sum() + of_opacity.abs().sum()) == 0.0
    with torch.no_grad():
        seen.colour[0, 0, 1, 1] = torch.nan
    assert not compose_views(seen, backgrounds, draw_augmentation(1, 4, STILL, seeded())).isfinite().all()


def test_only_what_the_loop_can_do_is_asked_of_it() -> None:
    assert usable(torch.zeros(1, 3, 2, 2))
    assert not usable(torch.zeros(1, 3, 1, 1))
    assert not usable(torch.zeros(1, 3, 4, 6))
    assert not usable(torch.zeros(1, 3, 4, 4, dtype=torch.float64))
    assert not usable(torch.zeros(1, 3, 4, 4, device="meta"))


@pytest.mark.usefixtures("without_numba")
def test_without_numba_the_definition_is_used() -> None:
    seen, backgrounds = views(2, 5), torch.rand(2, 3, 5, 5)
    augmentation = draw_augmentation(2, 7, AugmentSettings(), seeded())
    assert torch.equal(
        compose_views(seen, backgrounds, augmentation), compose_views_reference(seen, backgrounds, augmentation)
    )


def test_in_grey_channels_are_alike_and_a_grey_stays_as_it_is() -> None:
    images = torch.rand((2, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    grey = in_grey(images)
    assert torch.equal(grey, grey[:, :1].expand(2, 3, 4, 4))
    assert torch.allclose(in_grey(grey), grey, atol=1e-6)
    pure = torch.eye(3)[:, :, None, None]
    assert in_grey(pure)[:, 0].flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
