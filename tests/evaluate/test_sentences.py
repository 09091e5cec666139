"""A judge of sentences: the mean over views and backgrounds, by hand."""

import pytest
import torch
from torch import Tensor

from dreamfields.evaluate.classifier import held_out_renderings
from dreamfields.evaluate.sentences import similarities
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.render.renderer import Rendering
from tests.support.fields import Ball, BallsField


def test_a_red_ball_is_nearer_to_red_than_to_blue_from_all_sides() -> None:
    views = held_out_renderings(BallsField([Ball(0.8, colour=(0.9, 0.05, 0.05))]), size=24, samples=32)
    found = similarities(ToyGuidance(), views, ["a red ball", "a blue ball", "a red ball"])
    assert found.shape == (8, 3)
    assert (found[:, 0] > found[:, 1]).all()
    assert torch.equal(found[:, 0], found[:, 2])


def test_a_cosine_is_the_mean_over_white_grey_and_black() -> None:
    judge = ToyGuidance()
    nothing = torch.zeros(1, 1, 8, 8)
    (found,) = similarities(judge, [Rendering(torch.zeros(1, 3, 8, 8), nothing, nothing)], ["a white ball"])

    def seen(level: float) -> Tensor:
        return judge.encode_image(torch.full((1, 3, 8, 8), level)) @ judge.encode_text(["a white ball"]).T

    assert float(found) == pytest.approx(sum(float(seen(level)) for level in (1.0, 0.5, 0.0)) / 3.0, abs=1e-6)
