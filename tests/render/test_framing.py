"""Framing: what is visible fills the picture from every side."""

import math

import pytest
import torch

from dreamfields.render.framing import Framing, frame
from dreamfields.render.renderer import render_still
from dreamfields.scene.cameras import Camera
from tests.support.reference import FormulaField, ball


def test_a_ball_is_looked_at_in_its_centre_and_fills_the_picture_up_to_the_margin() -> None:
    framing = frame(FormulaField(ball((0.2, -0.3, 0.1), 0.5, 100.0)), distance=4.0, margin=1.25)
    assert framing.target == pytest.approx((0.2, -0.3, 0.1), abs=0.05)
    # The rim of a ball of radius r at distance d lies asin(r / d) off the axis.
    extent = math.tan(math.radians(framing.fov_deg) / 2.0)
    assert extent / math.tan(math.asin(0.5 / 4.0)) == pytest.approx(1.25, rel=0.08)


@pytest.mark.parametrize("camera", [(0.0, 0.0), (90.0, 0.0), (45.0, 60.0), (200.0, -30.0)])
def test_nothing_visible_is_cut_off_from_any_side(camera: tuple[float, float]) -> None:
    lumps = [ball((0.5, 0.0, 0.3), 0.2, 100.0), ball((-0.1, 0.6, -0.4), 0.3, 100.0)]
    field = FormulaField(lambda points: lumps[0](points) + lumps[1](points))
    framing = frame(field)
    opacity = render_still(field, Camera(*camera, fov_deg=framing.fov_deg, target=framing.target), 24, 200).opacity[
        0, 0
    ]
    assert opacity.max() > 0.9
    rim = torch.cat([opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]])
    assert rim.max() == 0.0


def test_fog_and_emptiness_do_not_decide_the_framing() -> None:
    assert frame(FormulaField(lambda points: points.new_full((len(points),), 2.0))) == Framing()
    core = ball((0.0, 0.0, 0.0), 0.4, 50.0)
    with_fog = frame(FormulaField(lambda points: core(points) + 1.0))
    assert with_fog == frame(FormulaField(core))
