"""Passes: what a ball of known place and size must look like in each of them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dreamfields.errors import DegenerateError
from dreamfields.export.pictures.stills import Shot, framed_radius, normals, refuse_blank, take, view
from dreamfields.export.settings import Pass
from dreamfields.render.framing import Framing, frame
from dreamfields.render.renderer import render_still
from dreamfields.scene.cameras import Camera
from tests.support.fields import Ball, BallsField, VolumeField

SIZE = 33
BALL = BallsField([Ball(0.5, (0.1, 0.2, -0.1), (0.8, 0.3, 0.1), 200.0)], edge=0.15)
FRAMING = frame(BALL)
CAMERA = Camera(40.0, 25.0, 4.0, FRAMING.fov_deg, (0.1, 0.2, -0.1))


def taken(show: Pass, *, transparent: bool = False) -> NDArray[np.float64]:
    picture = take(BALL, CAMERA, Shot(SIZE, 200, show, transparent), FRAMING, None)
    return np.asarray(picture).astype(float)


def test_colour_is_what_a_view_shows() -> None:
    assert np.array_equal(taken("colour"), np.asarray(view(BALL, CAMERA, SIZE, 200)))


def test_opacity_is_white_where_the_ball_is_and_black_elsewhere() -> None:
    picture = taken("opacity")
    assert (picture[16, 16] == 255).all()
    assert (picture[0, 0] == 0).all()
    radius = np.sqrt((picture[..., 0] > 127).sum() / np.pi) / SIZE
    assert radius == pytest.approx(0.5 / 1.1, rel=0.1)  # The framing's margin.


def test_depth_is_brightest_where_the_ball_is_nearest_and_black_where_there_is_none() -> None:
    picture = taken("depth")[..., 0]
    assert picture[0, 0] == 0
    inside = taken("opacity")[..., 0] == 255
    assert np.unravel_index(np.where(inside, picture, 0).argmax(), picture.shape) == pytest.approx((16, 16), abs=2)
    assert picture[inside].min() > 20
    assert picture[16, 16] > picture[16, 6] > 0
    rendered = render_still(BALL, CAMERA, SIZE, 200).depth[0, 0, 16, 16]
    assert float(rendered) == pytest.approx(3.5, abs=0.06)


def test_normals_point_from_the_middle_of_the_ball() -> None:
    seen = render_still(BALL, CAMERA, SIZE, 200)
    found = normals(BALL, CAMERA, seen).double().numpy()
    rays = CAMERA.rays(SIZE)
    distance = (seen.depth / seen.opacity.clamp(min=1e-6)).reshape(-1, 1)
    points = (rays.origins + distance * rays.directions).double().numpy() - np.array([0.1, 0.2, -0.1])
    inside = taken("opacity")[..., 0] == 255
    expected = (points / np.linalg.norm(points, axis=1, keepdims=True)).reshape(SIZE, SIZE, 3)
    assert ((found * expected).sum(axis=-1)[inside] > 0.97).all()
    assert np.allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-5)


def test_a_picture_of_normals_is_blue_ahead_red_to_the_right_and_green_above() -> None:
    picture = taken("normal")
    assert picture[16, 16] == pytest.approx([127, 127, 255], abs=8)
    assert picture[16, 28, 0] > picture[16, 16, 0] + 60
    assert picture[4, 16, 1] > picture[16, 16, 1] + 60
    assert (picture[0, 0] == 255).all()


def test_a_textureless_picture_is_grey_and_lit_from_above_on_the_left() -> None:
    picture = taken("textureless")
    assert (picture == picture[..., :1]).all()
    assert picture[10, 10, 0] > picture[22, 22, 0] + 50


@pytest.mark.parametrize("show", ["colour", "opacity", "depth", "normal", "textureless"])
def test_a_transparent_image_over_white_is_the_same_image(show: Pass) -> None:
    rgba = taken(show, transparent=True)
    assert rgba.shape == (SIZE, SIZE, 4)
    assert rgba[0, 0, 3] == 0
    assert rgba[16, 16, 3] == 255
    assert np.abs(rgba[16, 16, :3] - taken(show)[16, 16]).max() <= 1
    if show == "colour":
        alpha = rgba[..., 3:] / 255.0
        assert np.abs(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha) - taken(show)).max() <= 2


def test_the_framed_radius_is_that_of_the_object() -> None:
    assert framed_radius(FRAMING) == pytest.approx(0.55, abs=0.06)
    assert framed_radius(Framing()) > 1.0


def test_all_blank_is_refused_and_one_that_shows_something_is_enough() -> None:
    blank, full = Image.new("RGB", (8, 8), "white"), Image.fromarray(taken("colour").astype(np.uint8))
    refuse_blank([blank, full])
    with pytest.raises(DegenerateError, match="nothing to see"):
        refuse_blank([blank, blank])


@pytest.mark.parametrize("show", ["colour", "opacity", "depth", "normal", "textureless"])
@pytest.mark.parametrize("density", [0.0, 1e4])
def test_an_empty_or_a_full_scene_is_a_picture_without_a_fault(show: Pass, density: float) -> None:
    field = VolumeField(torch.full((5, 5, 5), density))
    picture = np.asarray(take(field, Camera(30.0, 20.0), Shot(9, 16, show), frame(field), None))
    assert picture.shape == (9, 9, 3)
