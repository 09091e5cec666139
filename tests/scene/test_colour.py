"""Colour: the decorrelated space is that of natural photographs."""

import pytest
import torch

from dreamfields.scene.colour import correlation, rgb_from_decorrelated


def test_the_matrix_is_the_published_one_up_to_scale() -> None:
    published = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    ratio = correlation()[0, 0] / published[0, 0]
    assert torch.allclose(correlation(), ratio * published, atol=1e-6)


def test_its_longest_row_has_unit_length_so_no_channel_is_amplified() -> None:
    lengths = correlation().square().sum(dim=1).sqrt()
    assert lengths.max().item() == pytest.approx(1.0, abs=1e-6)
    assert lengths.min() > 0.9


def test_rgb_is_the_matrix_times_the_values() -> None:
    values = torch.randn(5, 3)
    expected = torch.tensor([[float(row @ value) for row in correlation()] for value in values])
    assert torch.allclose(rgb_from_decorrelated(values), expected, atol=1e-6)
    assert rgb_from_decorrelated(torch.zeros(2, 4, 3)).shape == (2, 4, 3)


def test_the_first_value_is_light_and_the_others_are_hue() -> None:
    light, blue_to_red, green = rgb_from_decorrelated(torch.eye(3))
    assert light.min() > 0.9 * light.max()
    assert blue_to_red[0] > 0.0 > blue_to_red[2]
    assert green[1] < min(green[0], green[2])


def test_channels_correlate_as_in_photographs() -> None:
    covariance = correlation() @ correlation().T
    red_green, green_blue, red_blue = covariance[0, 1], covariance[1, 2], covariance[0, 2]
    assert min(red_green, green_blue) > red_blue > 0.0
