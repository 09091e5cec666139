"""`dreamfields video`: a film along a camera's path."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from rich.console import Console

from dreamfields.cli.command import RunCommand
from dreamfields.cli.run_folder import open_trained, say_notes
from dreamfields.cli.terminal import say
from dreamfields.export.pictures.paths import CameraPath, Orbit, read_path
from dreamfields.export.pictures.table import video_suffix
from dreamfields.export.settings import Pass
from dreamfields.settings import Range


@dataclass(frozen=True)
class Video(RunCommand):
    """Film a run's object along a camera's path."""

    out: Path | None = None
    """The video; its ending is the format: .mp4, .webm, .gif or .webp. RUN/video.mp4 if not given."""
    path: Path | None = None
    """A JSON file with the camera's path: orbit, dolly-zoom, spiral or keyframes; one turn if not given."""
    show: Pass = "colour"
    """What it shows: colour, opacity, depth, normal, or the shape alone, textureless."""
    size: Annotated[int, Range(1, 4096)] = 384
    """Pixels a side."""
    fps: Annotated[int, Range(1, 60)] = 24
    """Frames a second."""

    @cached_property
    def camera_path(self) -> CameraPath:
        """The camera's path."""
        return Orbit() if self.path is None else read_path(self.path)

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.out or self.folder / "video.mp4"

    def check_values(self) -> None:
        """Refuse an unknown ending."""
        video_suffix(self.target)

    def check(self) -> None:
        """Make sure that there are a camera path and a run."""
        _ = self.camera_path
        super().check()

    def run(self, console: Console) -> int:
        """Write the video, and say where it is not what was asked for."""
        from dreamfields.export.pictures.stills import Shot

        run = open_trained(self.directory, console)
        shot = Shot(self.size, run.config.export.still_samples, self.show)
        say(console, f"wrote {run.film(self.target, self.camera_path, shot, self.fps)}")
        say_notes(run.export_notes, console)
        return 0
