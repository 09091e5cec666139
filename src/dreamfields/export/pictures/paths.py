"""Camera paths of videos, and the JSON files that describe them. Nothing here imports torch.

    {"path": "orbit", "frames": 120, "turns": 1, "elevation_deg": 20, "zoom": 1.2}
    {"path": "dolly-zoom", "azimuth_deg": 30, "radius": [2.5, 10]}
    {"path": "spiral", "turns": 2, "elevation_deg": [-10, 70], "radius": [5, 3]}
    {"path": "keyframes", "frames": 90, "keyframes": [{"azimuth_deg": 0}, {"azimuth_deg": 200, "zoom": 2}]}

Every setting has a default. The camera looks at the middle of the object, which fills the image from a radius of 4;
`zoom` 2 shows it twice as large by a narrower field of view, and a smaller radius moves the camera nearer.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

from dreamfields.errors import UsageError
from dreamfields.settings import Range, Settings, unknown_name

Pair = tuple[float, float]
Frames = Annotated[int, Range(1, 3600)]
Turns = Annotated[float, Range(-100.0, 100.0)]
Azimuth = Annotated[float, Range(-36_000.0, 36_000.0)]
Elevation = Annotated[float, Range(-89.0, 89.0)]
Zoom = Annotated[float, Range(0.1, 20.0)]

LARGEST_FILE: Final = 1_000_000  # Bytes


@dataclass(frozen=True)
class Keyframe(Settings):
    """The pose of a camera."""

    azimuth_deg: Azimuth = 0.0  # Degrees around the object; 0 is the front. From 0 to 720 is two turns
    elevation_deg: Elevation = 20.0  # Degrees above the horizon
    radius: Annotated[float, Range(0.5, 100.0)] = 4.0  # Distance from what it looks at, in scene units
    zoom: Zoom = 1.0  # How much larger than framed; it narrows the field of view


@dataclass(frozen=True)
class Orbit(Keyframe):
    """Around the object at one height, beginning at a pose."""

    frames: Frames = 60  # Images; the last one is a step short of the first, so that the video loops
    turns: Turns = 1.0  # Times around; negative the other way

    def at(self, fraction: float) -> Keyframe:
        """Return the pose after a fraction of the path in [0, 1]."""
        around = 360.0 * self.turns * fraction * (self.frames - 1) / self.frames
        return Keyframe(self.azimuth_deg + around, self.elevation_deg, self.radius, self.zoom)


@dataclass(frozen=True)
class DollyZoom(Settings):
    """Towards the object or away while the zoom keeps its size in the image: Hitchcock's shot in Vertigo."""

    frames: Frames = 60  # Images
    azimuth_deg: Azimuth = 30.0  # Degrees around the object
    elevation_deg: Elevation = 20.0  # Degrees above the horizon
    radius: Annotated[Pair, Range(1.5, 100.0)] = (2.5, 12.0)  # First and last distance in scene units

    def at(self, fraction: float) -> Keyframe:
        """Return the pose after a fraction of the path in [0, 1]."""
        # Linear in the logarithm: the image changes as much from 2 to 4 as from 4 to 8.
        radius = self.radius[0] * (self.radius[1] / self.radius[0]) ** fraction
        return Keyframe(self.azimuth_deg, self.elevation_deg, radius, radius / 4.0)


@dataclass(frozen=True)
class Spiral(Settings):
    """Around the object while height, distance and zoom change."""

    frames: Frames = 120  # Images
    turns: Turns = 2.0  # Times around; negative the other way
    azimuth_deg: Azimuth = 0.0  # Where it begins
    elevation_deg: Annotated[Pair, Range(-89.0, 89.0)] = (-10.0, 60.0)  # First and last, degrees above the horizon
    radius: Annotated[Pair, Range(0.5, 100.0)] = (4.0, 4.0)  # First and last distance in scene units
    zoom: Annotated[Pair, Range(0.1, 20.0)] = (1.0, 1.0)  # First and last zoom

    def at(self, fraction: float) -> Keyframe:
        """Return the pose after a fraction of the path in [0, 1]."""
        pairs = (self.elevation_deg, self.radius, self.zoom)
        return Keyframe(self.azimuth_deg + 360.0 * self.turns * fraction, *(a + (b - a) * fraction for a, b in pairs))


@dataclass(frozen=True)
class Keyframes(Settings):
    """Smoothly through given poses, evenly in time."""

    keyframes: tuple[Keyframe, ...] = (Keyframe(), Keyframe(azimuth_deg=360.0))  # At least two poses
    frames: Frames = 90  # Images

    def faults(self) -> list[str]:
        """Return what is wrong; one pose is no path."""
        return super().faults() or (["keyframes needs at least 2 entries"] if len(self.keyframes) < 2 else [])

    def at(self, fraction: float) -> Keyframe:
        """Return the pose after a fraction of the path in [0, 1]."""
        columns = zip(*(vars(keyframe).values() for keyframe in self.keyframes), strict=True)
        return Keyframe(*(_spline(column, fraction) for column in columns))


CameraPath = Orbit | DollyZoom | Spiral | Keyframes

PATHS: Final[Mapping[str, type[CameraPath]]] = {
    "orbit": Orbit,
    "dolly-zoom": DollyZoom,
    "spiral": Spiral,
    "keyframes": Keyframes,
}


def read_path(file: Path) -> CameraPath:
    """Read a camera path from a JSON file. Raises UsageError: the file cannot be read or describes no path."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{file} is too large to be a camera path; it must be at most {LARGEST_FILE:,} bytes")
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read as a camera path: {error}") from error
    try:
        return path_from_json(values)
    except UsageError as error:
        raise UsageError(f"{file} is no camera path: {error}") from error


def path_from_json(values: Any) -> CameraPath:
    """Return the path that JSON values describe. Raises UsageError: they describe none."""
    if not isinstance(values, dict) or not isinstance(values.get("path"), str):
        raise UsageError(f'it must be an object with a "path" of {", ".join(PATHS)}')
    name = values["path"]
    if name not in PATHS:
        raise UsageError(unknown_name(name, list(PATHS), "path"))
    return PATHS[name].from_json({key: value for key, value in values.items() if key != "path"})


def poses(path: CameraPath) -> list[Keyframe]:
    """Return the camera's pose in each image of a path."""
    return [path.at(index / max(1, path.frames - 1)) for index in range(path.frames)]


def field_of_view(fov_deg: float, zoom: float) -> float:
    """Return the field of view in degrees that shows things `zoom` times as large as `fov_deg` does."""
    return math.degrees(2.0 * math.atan(math.tan(math.radians(fov_deg) / 2.0) / zoom))


def _spline(values: Sequence[float], fraction: float) -> float:
    """Interpolate evenly spaced values with a cubic Hermite spline that never overshoots.

    Slopes are the harmonic means of the neighbouring ones, or 0 where those differ in sign (Fritsch and Butland 1984).
    """
    rises = [after - before for before, after in pairwise(values)]
    inner = [0.0 if a * b <= 0.0 else 2.0 * a * b / (a + b) for a, b in pairwise(rises)]
    slopes = [rises[0], *inner, rises[-1]]
    position = fraction * len(rises)
    part = min(bisect_right(range(len(rises)), position) - 1, len(rises) - 1)
    t = position - part
    start = (1.0 + 2.0 * t) * (1.0 - t) ** 2 * values[part] + t * (1.0 - t) ** 2 * slopes[part]
    return start + t * t * (3.0 - 2.0 * t) * values[part + 1] + t * t * (t - 1.0) * slopes[part + 1]
