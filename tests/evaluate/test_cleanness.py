"""Fog and what lies outside: laws on balls whose measures are known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.evaluate.classifier import held_out_renderings
from dreamfields.evaluate.cleanness import THRESHOLD, cleanness, fog, outside
from tests.support.fields import Ball, BallsField

CELLS = 48


def disc(opacity: float, size: int = 32) -> Tensor:
    """A view (1, 1, s, s) of a disc of one opacity in front of nothing."""
    axis = torch.linspace(-1.0, 1.0, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return (opacity * (x**2 + y**2 < 0.5))[None, None]


def test_an_opaque_cut_out_has_no_fog_and_a_half_transparent_one_is_all_fog() -> None:
    assert fog(disc(1.0)) == 0.0
    assert fog(disc(0.5)) == pytest.approx(1.0)
    assert fog(disc(0.0)) == 0.0


@given(st.floats(0.06, 1.0))
def test_the_fog_of_one_opacity_is_its_parabola_whatever_its_size(opacity: float) -> None:
    assert fog(disc(opacity)) == pytest.approx(4.0 * opacity * (1.0 - opacity), abs=1e-5)
    assert fog(torch.full((8, 1, 4, 4), opacity)) == pytest.approx(fog(disc(opacity)), abs=1e-5)


def test_pixels_of_all_views_count_alike_and_those_that_show_nothing_do_not() -> None:
    solid, hazy = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    hazy[..., 0] = 0.5
    hazy[..., 1] = 0.04
    # 16 solid pixels and 4 of fog.
    assert fog(torch.cat([solid, hazy])) == pytest.approx(4 / 20)


def test_an_opaque_ball_is_clean_and_a_thin_one_is_fog() -> None:
    measured = {}
    for density in (200.0, 1.0):
        field = BallsField([Ball(0.5, density=density)])
        measured[density] = cleanness(field, held_out_renderings(field, size=48, samples=64))
    assert measured[200.0].fog < 0.05
    # Most of its chords let between a third and two thirds of the light through.
    assert measured[1.0].fog > 0.8
    # The thin one's soft edge is fog, too.
    assert measured[200.0].outside == 0.0
    assert measured[1.0].outside < 0.02


def balls(*radii_at: tuple[float, float], density: float = 60.0, fog_level: float = 0.0) -> Tensor:
    """Densities of balls along x: (radius, x)."""
    parts = [Ball(radius, (x, 0.0, 0.0), density=density) for radius, x in radii_at]
    return BallsField(parts, edge=0.001, fog_level=fog_level).density_volume(CELLS)


def test_of_two_balls_the_smaller_is_outside() -> None:
    small = 0.4 / 3.0 ** (1.0 / 3.0)
    assert outside(balls((0.4, -0.5), (small, 0.6))) == pytest.approx(0.25, abs=0.02)
    assert outside(balls((small, -0.6), (0.4, 0.5))) == pytest.approx(0.25, abs=0.02)
    assert outside(balls((0.4, -0.5), (0.4, 0.5))) == pytest.approx(0.5, abs=0.01)


def test_one_component_leaves_nothing_outside() -> None:
    assert outside(balls((0.4, 0.0))) == 0.0
    assert outside(balls((0.4, -0.3), (0.4, 0.3))) == 0.0
    assert outside(torch.ones(4, 4, 4)) == 0.0
    assert outside(torch.zeros(4, 4, 4)) == 0.0


def test_components_that_touch_at_a_corner_are_one() -> None:
    volume = torch.zeros(5, 5, 5)
    volume[1, 1, 1] = volume[2, 2, 2] = 9.0
    assert outside(volume) == 0.0
    volume[2, 2, 2], volume[3, 3, 3] = 0.0, 9.0
    assert outside(volume) == 0.5


def test_fog_below_the_threshold_belongs_to_no_component() -> None:
    volume = balls((0.4, 0.0), fog_level=0.9 * THRESHOLD)
    hazy = 0.9 * THRESHOLD * float((volume < THRESHOLD).sum())
    assert outside(volume) == pytest.approx(hazy / float(volume.sum()), rel=1e-4)
    assert outside(torch.full((4, 4, 4), 0.9 * THRESHOLD)) == 1.0


@given(st.floats(1.0, 1e4))
def test_the_fraction_outside_does_not_depend_on_how_dense_all_is(factor: float) -> None:
    volume = balls((0.3, -0.5), (0.2, 0.5))
    assert outside(factor * volume) == pytest.approx(outside(volume), abs=1e-6)
