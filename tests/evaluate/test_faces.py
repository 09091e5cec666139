"""Many faces: the measures have the values that their equations give for views that are known."""

import math

import pytest
import torch

from dreamfields.evaluate.faces import SQUARE_ON, Faces, fronts, severity, told
from dreamfields.guidance.prompts import side_sentences

AZIMUTHS = [45.0 * view for view in range(8)]


def test_views_that_look_alike_have_severity_one() -> None:
    assert severity(torch.ones(8, 5), AZIMUTHS) == pytest.approx(1.0)


def test_views_on_a_circle_have_the_mean_of_the_weighted_cosines() -> None:
    angles = torch.deg2rad(torch.tensor(AZIMUTHS, dtype=torch.float64))
    circle = torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)
    # sum (1 - c) c / sum (1 - c) = -mean c^2 = -1/2, since the mean of the cosines c is 0.
    assert severity(circle, AZIMUTHS) == pytest.approx(-0.5)
    assert severity(3.0 * circle, AZIMUTHS) == pytest.approx(-0.5)


def test_where_a_turn_begins_and_its_direction_change_nothing() -> None:
    features = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    found = severity(features, AZIMUTHS)
    assert severity(features, [azimuth + 77.0 for azimuth in AZIMUTHS]) == pytest.approx(found, abs=1e-5)
    assert severity(features, [-azimuth for azimuth in AZIMUTHS]) == pytest.approx(found, abs=1e-5)


def test_a_second_face_behind_is_worse_than_one_beside() -> None:
    views = torch.eye(8)
    behind, beside = views.clone(), views.clone()
    behind[4], beside[1] = views[0], views[0]
    assert severity(behind, AZIMUTHS) > severity(beside, AZIMUTHS) > severity(views, AZIMUTHS) - 1e-6
    quarter = 2.0 * 2.0 / sum(1.0 - math.cos(math.radians(a - b)) for a in AZIMUTHS for b in AZIMUTHS)
    assert severity(behind, AZIMUTHS) == pytest.approx(severity(views, AZIMUTHS) + quarter)


def test_more_fronts_than_one_side_can_show_are_many() -> None:
    assert side_sentences("a cat") == ("front view of a cat", "side view of a cat", "back view of a cat")
    similarities = torch.tensor([[0.3, 0.2, 0.1]] * 3 + [[0.1, 0.2, 0.3]] * 5)
    assert fronts(similarities) == 3
    assert not Faces(0.2, 3, 2, 8).many
    assert Faces(0.2, 4, 2, 8).many


def test_sides_are_told_in_views_straight_from_them() -> None:
    front, side, back = torch.eye(3)
    turned = torch.stack([front, side, side, side, back, side, side, front])
    assert told(turned, AZIMUTHS) == SQUARE_ON
    # What is said of views in between does not count.
    turned[1::2] = front
    assert told(turned, AZIMUTHS) == SQUARE_ON
    assert [told(torch.stack([one] * 8), AZIMUTHS) for one in (front, side, back)] == [1, 2, 1]
    assert told(turned.roll(4, dims=0), AZIMUTHS) == 2
