"""Films: pictures of a field along a camera's path, and of a run while it takes shape."""

from pathlib import Path
from typing import Final, final

from PIL import Image
from torch import Tensor

from dreamfields.export.pictures.passes import Shot, take
from dreamfields.export.pictures.paths import CameraPath, Keyframe, Orbit, field_of_view, poses
from dreamfields.export.pictures.stills import png_bytes, view
from dreamfields.export.settings import ExportSettings
from dreamfields.render.framing import Framing, frame
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField
from dreamfields.storage import atomic_write

LAPSE_SAMPLES: Final = 48
"""Most samples a ray of a picture taken while training, which must cost next to nothing."""

LAPSE_SIZE: Final = 128
"""Most pixels a side of it."""


def turntable(field: AbstractField, settings: ExportSettings, occupancy: Tensor | None = None) -> list[Image.Image]:
    """Render the frames of one turn around a field, over white, `video_size` pixels a side, the front first.

    Args:
        field: what is there.
        settings: size and number of frames, and the samples of a ray.
        occupancy: cells that may hold density, bool (k, k, k); None samples everywhere.

    Raises:
        DegenerateError: the field holds values that are not finite.
    """
    shot = Shot(settings.video_size, settings.still_samples)
    return film(field, Orbit(frames=settings.video_frames), shot, occupancy)


def film(field: AbstractField, path: CameraPath, shot: Shot, occupancy: Tensor | None = None) -> list[Image.Image]:
    """Take the pictures of a camera's path.

    Raises:
        DegenerateError: the field holds values that are not finite.
    """
    framing = frame(field)
    return [take(field, camera_at(place, framing), shot, framing, occupancy) for place in poses(path)]


def camera_at(place: Keyframe, framing: Framing) -> Camera:
    """Return the camera of a place on a path, looking at what is framed."""
    fov_deg = field_of_view(framing.fov_deg, place.zoom)
    return Camera(place.azimuth_deg, place.elevation_deg, place.radius, fov_deg, framing.target)


@final
class TimeLapse:
    """Pictures of a run while it takes shape, one file each, so that a run that is stopped goes on with them.

    The camera goes once around in the course of the run. Pictures of an attempt that was given up stay, as they are
    part of the story.
    """

    def __init__(self, folder: Path, steps: int, settings: ExportSettings) -> None:
        """Take `lapse_frames` pictures, or none, in so many steps, into a folder, which is made when it is needed."""
        self.folder = folder
        self.steps = steps
        self.every = max(1, steps // settings.lapse_frames) if settings.lapse_frames else 0
        self.size = min(LAPSE_SIZE, settings.video_size)
        self.samples = min(LAPSE_SAMPLES, settings.still_samples)

    def keep(self, field: AbstractField, occupancy: Tensor, attempt: int) -> None:
        """Take a picture of a field, if its step is one that is to be kept."""
        if self.every == 0 or field.step % self.every != 0:
            return
        camera = Camera(360.0 * field.step / self.steps, 20.0)
        picture = view(field, camera, self.size, self.samples, occupancy)
        atomic_write(self.folder / f"attempt-{attempt:03d}-step-{field.step:08d}.png", png_bytes(picture, {}))

    def pictures(self) -> list[Image.Image]:
        """Return the pictures that were taken, in their order."""
        taken = []
        for path in sorted(self.folder.glob("attempt-*-step-*.png")):
            with Image.open(path) as picture:
                taken.append(picture.convert("RGB"))
        return taken
