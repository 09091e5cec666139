"""Shading without colours: normals of a ball are known, and a shade is that of its normal."""

import pytest
import torch

from dreamfields.render.shading import AMBIENT, DIFFUSE, ShadedField, light_beside, normals_at
from dreamfields.scene.fields.base import Query
from tests.support.fields import Ball, BallsField, VolumeField

CENTRE = torch.tensor([0.1, 0.2, -0.1])
BALL = BallsField([Ball(0.5, (0.1, 0.2, -0.1), density=200.0)], edge=0.15)


def surface(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points (n, 3) on the ball's surface, and the normals there."""
    outward = torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    return CENTRE + 0.5 * outward, outward


def test_normals_of_a_ball_point_away_from_its_centre() -> None:
    points, outward = surface()
    found = normals_at(BALL, points)
    assert torch.allclose(found.norm(dim=-1), torch.ones(len(points)), atol=1e-5)
    assert ((found * outward).sum(dim=-1) > 0.99).all()


@pytest.mark.parametrize("density", [0.0, 1e4])
def test_where_the_opacity_is_even_there_is_no_normal(density: float) -> None:
    points, _ = surface()
    assert not normals_at(VolumeField(torch.full((5, 5, 5), density)), points, 16).any()


def test_a_shade_is_the_lamp_s_light_on_the_normal_and_that_from_everywhere() -> None:
    points, outward = surface()
    light = light_beside(30.0, elevation_deg=20.0, turn_deg=-50.0)
    lengths = torch.full((len(points),), 0.01)
    shades = ShadedField(BALL, light).evaluator()(Query(points, -outward, lengths, lengths)).colour
    assert (shades == shades[:, :1]).all()
    expected = AMBIENT + DIFFUSE * (outward @ torch.tensor(light)).clamp(min=0.0)
    assert torch.allclose(shades[:, 0], expected, atol=0.05)
    assert shades.max() > 0.9
    assert shades.min() == pytest.approx(AMBIENT)
