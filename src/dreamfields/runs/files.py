"""What can be made of a run: pictures, videos, meshes, a page; each as a file that names its prompt and seed."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from PIL import Image

from dreamfields import __version__
from dreamfields.config import Config
from dreamfields.export.asset import PRINT_MM, Asset
from dreamfields.export.formats.table import write_asset
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.pictures.film import TimeLapse, film, turntable
from dreamfields.export.pictures.passes import Shot, refuse_blank, take
from dreamfields.export.pictures.paths import CameraPath, Orbit
from dreamfields.export.pictures.stills import contact_sheet, png_bytes
from dreamfields.export.pictures.video import video_suffix, write_video
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.ensemble import label
from dreamfields.optimize.state import TrainingState
from dreamfields.render.framing import frame
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.scene.cameras import Camera
from dreamfields.storage import atomic_write

MESH_SUFFIX = ".glb"


class Outputs(ABC):
    """The files of a run.

    Attributes:
        config: what the run is made from.
        record: what run.json says.
    """

    config: Config
    record: dict[str, Any]

    @property
    @abstractmethod
    def path(self) -> Path:
        """Return the run's folder."""

    @property
    @abstractmethod
    def status(self) -> str:
        """Return `started`, `running`, `interrupted`, `optimized` or `finished`."""

    @property
    @abstractmethod
    def state(self) -> TrainingState:
        """Return the optimisation's state."""

    @property
    @abstractmethod
    def trained_state(self) -> TrainingState:
        """Return the state of a run that has something to show."""

    @abstractmethod
    def _set_status(self, status: str, **facts: Any) -> None:
        """Keep a status and facts in run.json."""

    @property
    def export_notes(self) -> list[str]:
        """Return what files are not as they were asked for, one sentence each, such as a GIF in place of an MP4."""
        return [str(note) for note in self.record.get("export_notes", {}).values()]

    def render(self, camera: Camera, size: int = 512, samples: int = 128) -> Rendering:
        """Render one picture of the field, of any size."""
        return render_still(self.trained_state.field, camera, size, samples, occupancy=self.state.occupancy)

    def asset(self, settings: ExportSettings | None = None, size_mm: float = PRINT_MM) -> Asset:
        """Return the object ready to be taken away, by the run's settings or others; what its files share is made once.

        Formats that have a size make its largest extent `size_mm` millimetres.
        """
        chosen, state = settings or self.config.export, self.trained_state
        facts, config = self.metadata(), self.config.to_json()
        return Asset(state.field, chosen, facts, occupancy=state.occupancy, size_mm=size_mm, config=config)

    def mesh(self) -> Mesh:
        """Return the object's surface with its colours and texture, +Y up and outward faces.

        Raises:
            DegenerateError: the field has no surface.
        """
        return self.asset().mesh

    def export(self, path: str | Path, asset: Asset | None = None) -> Path:
        """Write the object in the format of the path's ending and return the path.

        A GLB's facts are kept in run.json: its faces, its texture, and how well it fits the field.

        Raises:
            UsageError: the ending names no known format.
            MissingPackageError: the format needs a package that is not installed.
            DegenerateError: the field has no surface; nothing is written.
        """
        target, made = Path(path), asset or self.asset()
        write_asset(made, target)
        if target.suffix == MESH_SUFFIX:
            self._set_status(self.status, mesh=made.summary())
            self._note(target.name, made.note)
        return target

    def viewer(self, path: str | Path) -> Path:
        """Write one page (.html) that shows the mesh in any browser, without a network, and return its path."""
        return self.export(path)

    def sheet(self, path: str | Path) -> Path:
        """Write the contact sheet of eight views as PNG and return the path."""
        image = contact_sheet(self.trained_state.field, self.config.export, self.state.occupancy)
        atomic_write(Path(path), png_bytes(image, self.metadata()))
        return Path(path)

    def turntable(self, path: str | Path) -> Path:
        """Write the video of one turn, or a GIF where MP4 cannot be made, and return where it is."""
        frames = turntable(self.trained_state.field, self.config.export, self.state.occupancy)
        return self._encode(frames, Path(path), self.config.export.video_fps)

    def picture(self, path: str | Path, camera: Camera, shot: Shot | None = None) -> Path:
        """Write one picture of the field as PNG and return its path; the shot says its size and what it shows.

        Raises:
            DegenerateError: there is nothing to see; nothing is written.
        """
        chosen, field = shot or Shot(), self.trained_state.field
        image = take(field, camera, chosen, frame(field), self.state.occupancy)
        refuse_blank([image])
        atomic_write(Path(path), png_bytes(image, self.metadata()))
        return Path(path)

    def film(self, path: str | Path, along: CameraPath | None = None, shot: Shot | None = None, fps: int = 24) -> Path:
        """Write a video along a camera's path, one turn if not given, and return where it is.

        The ending, .mp4, .webm, .gif or .webp, is the format; the ending of what is returned says what could be made.

        Raises:
            UsageError: the ending names no known format.
            DegenerateError: there is nothing to see; nothing is written.
        """
        video_suffix(Path(path))
        chosen = shot or Shot(self.config.export.video_size, self.config.export.still_samples)
        frames = film(self.trained_state.field, along or Orbit(), chosen, self.state.occupancy)
        refuse_blank(frames)
        return self._encode(frames, Path(path), fps)

    def metadata(self) -> dict[str, str | int | float]:
        """Return the facts that travel inside every exported file."""
        return {
            "prompt": self.config.prompt,
            "seed": self.config.seed,
            "guidance": label(self.config.recipe.guidance.name),
            "steps": self.config.recipe.optimize.steps,
            "generator": f"dreamfields {__version__}",
        }

    def _lapse(self) -> TimeLapse:
        return TimeLapse(self.path / "previews", self.config.recipe.optimize.steps, self.config.export)

    def _encode(self, frames: list[Image.Image], path: Path, fps: int) -> Path:
        target, note = write_video(frames, fps, path)
        self._note(path.name, note)
        return target

    def _note(self, name: str, sentence: str) -> None:
        """Keep in run.json what a file is not as it was asked for, or that it is by now."""
        others = {key: value for key, value in self.record.get("export_notes", {}).items() if key != name}
        self._set_status(self.status, export_notes=others | ({name: sentence} if sentence else {}))
