"""Films: pictures along a path, framed alike, and pictures of a run while it takes shape."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dreamfields.export.pictures.film import TimeLapse, camera_at, film, turntable
from dreamfields.export.pictures.paths import DollyZoom, Keyframe, Orbit
from dreamfields.export.pictures.stills import Shot, view
from dreamfields.export.settings import ExportSettings
from dreamfields.render import framing
from dreamfields.render.occupancy import occupied_cells
from dreamfields.scene.cameras import Camera
from tests.support.fields import Ball, BallsField

TWO = BallsField([Ball(0.3, (0.5, 0.0, 0.0)), Ball(0.3, (0.0, 0.0, 0.5))])


def test_a_turntable_goes_once_around_from_the_front() -> None:
    settings = ExportSettings(video_size=24, video_frames=4, still_samples=32)
    seen = framing.frame(TWO)
    frames = turntable(TWO, settings, occupied_cells(TWO, 8, 0.05))
    assert [frame.size for frame in frames] == [(24, 24)] * 4
    for quarter, frame in enumerate(frames):
        camera = Camera(90.0 * quarter, 20.0, 4.0, seen.fov_deg, seen.target)
        expected = view(TWO, camera, 24, 32, occupied_cells(TWO, 8, 0.05))
        assert np.abs(np.asarray(frame).astype(int) - np.asarray(expected)).max() <= 1
    assert not np.array_equal(np.asarray(frames[0]), np.asarray(frames[1]))


def test_a_zoom_shows_the_object_larger_and_a_dolly_zoom_does_not() -> None:
    def area(shot: Shot, path: Orbit | DollyZoom) -> list[int]:
        return [int((np.asarray(frame)[..., 0] > 127).sum()) for frame in film(TWO, path, shot)]

    shot = Shot(48, 48, "opacity")
    (once,), (twice,) = area(shot, Orbit(frames=1)), area(shot, Orbit(frames=1, zoom=0.5))
    assert once == pytest.approx(4 * twice, rel=0.15)
    near, far = area(shot, DollyZoom(frames=2, radius=(4.0, 40.0)))
    assert far == pytest.approx(near, rel=0.25)


def test_a_place_is_a_camera_that_looks_at_what_is_framed() -> None:
    camera = camera_at(Keyframe(10.0, -20.0, 3.0, 2.0), framing.Framing((0.1, 0.2, 0.3), 40.0))
    assert (camera.azimuth_deg, camera.elevation_deg, camera.radius, camera.target) == (
        10.0,
        -20.0,
        3.0,
        (0.1, 0.2, 0.3),
    )
    assert camera.fov_deg == pytest.approx(2.0 * np.degrees(np.arctan(np.tan(np.radians(20.0)) / 2.0)))


def test_rendering_frames_needs_no_gradient() -> None:
    assert torch.is_grad_enabled()
    film(TWO, Orbit(frames=1), Shot(8, 8))
    assert TWO.anchor.grad is None


def lapse_settings(count: int) -> ExportSettings:
    return ExportSettings(lapse_frames=count, video_size=12, still_samples=8)


def lapse(folder: Path, count: int, steps: int = 20) -> list[int]:
    """Return the steps of which pictures are kept."""
    field, cells = BallsField([Ball(0.5)]), torch.ones(1, 1, 1, dtype=torch.bool)
    checkpointer = TimeLapse(folder, steps, lapse_settings(count))
    for step in range(1, steps + 1):
        field.step = step
        checkpointer.keep(field, cells, 0)
    return sorted(int(path.stem[-8:]) for path in folder.glob("*.png"))


def test_a_time_lapse_keeps_pictures_evenly_and_in_order(tmp_path: Path) -> None:
    assert lapse(tmp_path, 4) == [5, 10, 15, 20]
    pictures = TimeLapse(tmp_path, 20, lapse_settings(4)).pictures()
    assert [picture.size for picture in pictures] == [(12, 12)] * 4


def test_a_time_lapse_of_none_keeps_nothing(tmp_path: Path) -> None:
    assert lapse(tmp_path / "previews", 0) == []
    assert not (tmp_path / "previews").exists()
    assert TimeLapse(tmp_path / "previews", 20, lapse_settings(0)).pictures() == []


def test_a_time_lapse_of_more_pictures_than_steps_keeps_each_step(tmp_path: Path) -> None:
    assert lapse(tmp_path, 100, steps=3) == [1, 2, 3]
