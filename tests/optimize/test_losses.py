"""Losses: cases worked by hand, and where there is nothing to gain."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from dreamfields.optimize import losses


def test_the_guidance_loss_is_minus_the_mean_score() -> None:
    assert losses.guidance_loss(torch.tensor([0.5, -0.1, 0.2])).item() == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("opacity", "target", "expected"),
    [
        (0.75, 0.5, -0.25),  # Fuller than asked: minus the transmittance.
        (0.5, 0.5, -0.5),
        (0.25, 0.5, -0.5),  # Emptier than asked: nothing more to gain.
        (0.0, 0.8, -0.8),
        (1.0, 0.8, 0.0),
    ],
)
def test_the_transmittance_loss_by_hand(opacity: float, target: float, expected: float) -> None:
    assert losses.transmittance_loss(torch.full((2, 1, 3, 3), opacity), target).item() == pytest.approx(expected)


def test_the_transmittance_loss_takes_the_mean_of_all_pixels_before_it_clips() -> None:
    opacity = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(2, 1, 1, 2)
    assert losses.transmittance_loss(opacity, 0.6).item() == pytest.approx(-0.5)


@pytest.mark.parametrize(("opacity", "slope"), [(0.75, 0.25), (0.25, 0.0)])
def test_only_a_scene_fuller_than_asked_is_pushed(opacity: float, slope: float) -> None:
    pixels = torch.full((1, 1, 2, 2), opacity, requires_grad=True)
    losses.transmittance_loss(pixels, 0.5).backward()
    assert pixels.grad is not None
    assert pixels.grad.flatten().tolist() == pytest.approx([slope] * 4)


def test_total_variation_by_hand() -> None:
    assert losses.total_variation(torch.full((1, 1, 4, 4), 0.3)).item() == 0.0
    picture = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.5]])[None, None]
    # Between rows 0, 1 and 0.5, of three; between columns 1, 0, 0 and 0.5, of four.
    assert losses.total_variation(picture).item() == pytest.approx(1.5 / 3.0 + 1.5 / 4.0)
    assert losses.total_variation(picture.flip(-1)).item() == pytest.approx(1.5 / 3.0 + 1.5 / 4.0)
    assert losses.total_variation(picture.flip(-2)).item() == pytest.approx(1.5 / 3.0 + 1.5 / 4.0)


def test_two_views_do_not_vary_against_each_other() -> None:
    views = torch.stack([torch.zeros(1, 3, 3), torch.ones(1, 3, 3)])
    assert losses.total_variation(views).item() == 0.0


def test_total_variation_has_the_right_gradient() -> None:
    assert gradcheck(losses.total_variation, torch.rand(1, 1, 3, 4, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([0.0, 1.0, 1.0], 0.0),
        ([0.5, 0.5], 1.0),
        ([0.25, 1.0, 0.0], 0.375),  # What is not seen does not count.
        ([0.0, 0.04], 0.0),
        ([], 0.0),
    ],
)
def test_fog_by_hand(pixels: list[float], expected: float) -> None:
    assert losses.fog(torch.tensor(pixels)).item() == pytest.approx(expected)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9))
def test_fog_is_a_share(pixels: list[float]) -> None:
    assert 0.0 <= losses.fog(torch.tensor(pixels)).item() <= 1.0
