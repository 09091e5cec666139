"""Films: images of a field along a camera path, and of a run while it trains."""

import io
from pathlib import Path
from typing import Final, final

from PIL import Image
from torch import Tensor

from dreamfields.export.pictures.paths import CameraPath, Keyframe, Orbit, field_of_view, poses
from dreamfields.export.pictures.stills import Shot, png_bytes, take, view
from dreamfields.export.settings import ExportSettings
from dreamfields.render.framing import Framing, frame
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField
from dreamfields.storage import atomic_write

LAPSE_SAMPLES: Final = 48  # Most samples a ray of an image rendered while training, which must cost almost nothing
LAPSE_SIZE: Final = 128  # Most pixels a side of such an image


def turntable(field: AbstractField, settings: ExportSettings, occupancy: Tensor | None = None) -> list[Image.Image]:
    """Render one turn around a field, over white, the front first. Raises DegenerateError: it is not finite."""
    path, shot = Orbit(frames=settings.video_frames), Shot(settings.video_size, settings.still_samples)
    return film(field, path, shot, occupancy)


def film(field: AbstractField, path: CameraPath, shot: Shot, occupancy: Tensor | None = None) -> list[Image.Image]:
    """Render a field's frames along a camera path. Raises DegenerateError: the field is not finite."""
    framing = frame(field)
    return [take(field, camera_at(pose, framing), shot, framing, occupancy) for pose in poses(path)]


def camera_at(pose: Keyframe, framing: Framing) -> Camera:
    """Return the camera of a pose on a path, looking at what is framed."""
    fov_deg = field_of_view(framing.fov_deg, pose.zoom)
    return Camera(pose.azimuth_deg, pose.elevation_deg, pose.radius, fov_deg, framing.target)


@final
class TimeLapse:
    """Images of a run while it trains, one file each, so that a resumed run continues with them.

    The camera turns once around in the course of the run. Images of an attempt that was rolled back are kept.
    """

    def __init__(self, folder: Path, steps: int, settings: ExportSettings) -> None:
        """Spread `lapse_frames` images over so many steps; the folder is made when the first is written."""
        self.folder, self.steps = folder, steps
        self.every = max(1, steps // settings.lapse_frames) if settings.lapse_frames else 0
        self.size = min(LAPSE_SIZE, settings.video_size)
        self.samples = min(LAPSE_SAMPLES, settings.still_samples)

    def keep(self, field: AbstractField, occupancy: Tensor, attempt: int) -> None:
        """Write an image of a field if it is due at the field's step."""
        if self.every and field.step % self.every == 0:
            camera = Camera(360.0 * field.step / self.steps, 20.0)
            image = view(field, camera, self.size, self.samples, occupancy)
            atomic_write(self.folder / f"attempt-{attempt:03d}-step-{field.step:08d}.png", png_bytes(image, {}))

    def pictures(self) -> list[Image.Image]:
        """Return the images that were written, in their order."""
        paths = sorted(self.folder.glob("attempt-*-step-*.png"))
        return [Image.open(io.BytesIO(path.read_bytes())).convert("RGB") for path in paths]
