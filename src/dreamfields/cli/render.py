"""`dreamfields render`: one picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from dreamfields.cli.command import RunCommand
from dreamfields.cli.run_folder import open_trained
from dreamfields.cli.terminal import say
from dreamfields.export.pictures.paths import Azimuth, Elevation, Keyframe, Zoom
from dreamfields.export.pictures.table import picture_format
from dreamfields.export.settings import Pass
from dreamfields.settings import Range


@dataclass(frozen=True)
class Render(RunCommand):
    """Render a run's object from any side to a picture."""

    out: Path | None = None
    """The picture; its ending is the format: .png, .jpg, .jpeg or .webp. RUN/render.png if not given."""
    azimuth_deg: Azimuth = 30.0
    """Degrees around the object; 0 is the front."""
    elevation_deg: Elevation = 20.0
    """Degrees above the horizon."""
    size: Annotated[int, Range(1, 8192)] = 512
    """Pixels a side."""
    zoom: Zoom = 1.0
    """How much larger than framed to fill the picture."""
    show: Pass = "colour"
    """What the picture shows: colour, opacity, depth, normal, or the shape alone, textureless."""
    transparent: bool = False
    """Leave the background out instead of painting it; not in a JPEG."""

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.out or self.folder / "render.png"

    def check_values(self) -> None:
        """Refuse an unknown ending, and a transparent picture in a format without transparency."""
        picture_format(self.target, transparent=self.transparent)

    def run(self, console: Console) -> int:
        """Write the picture."""
        from dreamfields.export.pictures.film import camera_at
        from dreamfields.export.pictures.stills import Shot
        from dreamfields.render.framing import frame

        run = open_trained(self.directory, console)
        place = Keyframe(self.azimuth_deg, self.elevation_deg, zoom=self.zoom)
        camera = camera_at(place, frame(run.trained_state().field))
        shot = Shot(self.size, show=self.show, transparent=self.transparent)
        say(console, f"wrote {run.picture(self.target, camera, shot)}")
        return 0
