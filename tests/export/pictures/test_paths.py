"""Camera paths: they go where their files say, and a wrong file is one sentence."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dreamfields.errors import UsageError
from dreamfields.export.pictures.paths import (
    DollyZoom,
    Keyframe,
    Keyframes,
    Orbit,
    Spiral,
    field_of_view,
    path_from_json,
    poses,
    read_path,
)


def test_an_orbit_goes_around_once_and_stops_a_step_short() -> None:
    azimuths = [place.azimuth_deg for place in poses(Orbit(frames=8))]
    assert azimuths == pytest.approx([45.0 * index for index in range(8)])
    back = [place.azimuth_deg for place in poses(Orbit(frames=4, turns=-2, azimuth_deg=10.0))]
    assert back == pytest.approx([10.0, -170.0, -350.0, -530.0])


def test_a_dolly_zoom_keeps_the_size_of_what_it_looks_at() -> None:
    shots = poses(DollyZoom(frames=9, radius=(2.0, 16.0)))
    assert [shots[0].radius, shots[4].radius, shots[8].radius] == pytest.approx([2.0, math.sqrt(32.0), 16.0])
    for shot in shots:
        half = math.tan(math.radians(field_of_view(34.0, shot.zoom)) / 2.0)
        assert shot.radius * half == pytest.approx(4.0 * math.tan(math.radians(17.0)))


def test_a_spiral_goes_from_its_first_to_its_last_values() -> None:
    shots = poses(Spiral(frames=11, turns=1.5, elevation_deg=(-10.0, 60.0), radius=(6.0, 3.0), zoom=(1.0, 2.0)))
    assert (shots[0].elevation_deg, shots[0].radius, shots[0].zoom) == (-10.0, 6.0, 1.0)
    assert (shots[-1].elevation_deg, shots[-1].radius, shots[-1].zoom) == pytest.approx((60.0, 3.0, 2.0))
    assert shots[-1].azimuth_deg == pytest.approx(540.0)


def test_keyframes_are_passed_through_gently_and_never_overshot() -> None:
    path = Keyframes(
        (Keyframe(0.0, 10.0), Keyframe(90.0, 10.0, 3.0), Keyframe(100.0, 40.0, 3.0, 2.0), Keyframe(0.0, 0.0)), frames=31
    )
    shots = poses(path)
    for index, keyframe in zip((0, 10, 20, 30), path.keyframes, strict=True):
        assert vars(shots[index]) == pytest.approx(vars(keyframe))
    assert max(shot.azimuth_deg for shot in shots) == pytest.approx(100.0)
    assert all(shot.elevation_deg == pytest.approx(10.0) for shot in shots[:11])  # What is to stay still does.
    steps = [after.azimuth_deg - before.azimuth_deg for before, after in pairwise(shots)]
    assert max(abs(b - a) for a, b in pairwise(steps)) < 6.0  # No jolt at a keyframe.


@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("path", [Orbit, DollyZoom, Spiral])
def test_a_path_has_as_many_pictures_as_asked_for(path: Any, frames: int) -> None:
    assert len(poses(path(frames=frames))) == frames


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"path": "orbit"}, Orbit()),
        ({"path": "orbit", "frames": 12, "zoom": 2}, Orbit(frames=12, zoom=2)),
        ({"path": "dolly-zoom", "radius": [3, 9]}, DollyZoom(radius=(3, 9))),
        ({"path": "spiral", "turns": 3}, Spiral(turns=3)),
        (
            {"path": "keyframes", "keyframes": [{}, {"azimuth_deg": 90}]},
            Keyframes((Keyframe(), Keyframe(azimuth_deg=90))),
        ),
    ],
)
def test_a_file_is_the_path_it_says(values: Any, path: Any, tmp_path: Path) -> None:
    (tmp_path / "path.json").write_text(json.dumps(values))
    assert read_path(tmp_path / "path.json") == path


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], 'an object with a "path" of orbit, dolly-zoom, spiral, keyframes'),
        ({}, 'an object with a "path"'),
        ({"path": 3}, 'an object with a "path"'),
        ({"path": "orbits"}, "no path called 'orbits'; did you mean 'orbit'"),
        ({"path": "orbit", "frame": 3}, "called 'frame'; did you mean 'frames'"),
        ({"path": "orbit", "frames": 0}, "frames is 0; it must be from 1 to 3,600"),
        ({"path": "orbit", "zoom": "big"}, "zoom is 'big'; it must be a number"),
        ({"path": "spiral", "radius": [3]}, "radius is"),
        ({"path": "keyframes", "keyframes": 3}, "keyframes is 3; it must be a list"),
        ({"path": "keyframes", "keyframes": [3, 4]}, "keyframes is (3, 4); it must be a list, each a Keyframe"),
        ({"path": "keyframes", "keyframes": [{}]}, "keyframes needs at least 2 entries"),
        ({"path": "keyframes", "keyframes": [{}, {"zooom": 2}]}, "called 'zooom'; did you mean 'zoom'"),
        ({"path": "keyframes", "keyframes": [{}, {"zoom": float("nan")}]}, "zoom is nan"),
    ],
)
def test_a_wrong_path_is_one_sentence(values: Any, said: str) -> None:
    with pytest.raises(UsageError) as error:
        path_from_json(values)
    assert said in str(error.value)


@pytest.mark.parametrize("content", ["", "{", "\x00", "[" * 100_000])
def test_a_file_that_is_no_json_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "path.json").write_text(content)
    with pytest.raises(UsageError, match="cannot be read as a camera path"):
        read_path(tmp_path / "path.json")


def test_a_missing_or_huge_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read as a camera path"):
        read_path(tmp_path / "none.json")
    (tmp_path / "huge.json").write_text(" " * 1_000_001)
    with pytest.raises(UsageError, match="too large to be a camera path"):
        read_path(tmp_path / "huge.json")
