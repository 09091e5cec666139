"""Settings of the exported mesh, images and videos. Nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from dreamfields.settings import Range, Settings

Metadata = Mapping[str, str | int | float]  # Facts written into a file, such as prompt and seed; numbers are finite
Millimetres = Annotated[float | None, Range(0.1, 100_000.0)]  # Largest extent of an object; None for its format's own
Pass = Literal["colour", "opacity", "depth", "normal", "textureless"]  # What an image shows of the field


@dataclass(frozen=True)
class MeshSettings(Settings):
    """How a field is turned into a mesh."""

    mesh_cells: Annotated[int, Range(4, 384)] = 96
    """Cells a side of the lattice the surface is found on; time and memory grow with the cube."""
    max_faces: Annotated[int, Range(100, 5_000_000)] = 12_000
    """Triangles the mesh is simplified to, at most. The texture shows finer detail than they do, and the time to lay
    it out grows faster than their number."""
    level: Annotated[float | None, Range(1e-6, 1e9)] = None
    """Density at which the surface lies, in inverse scene units; None takes the one that best fits the silhouettes."""
    texture_size: Annotated[int, Range(0, 8192)] = 1024
    """Texels a side of the texture; 0 for vertex colours alone."""
    unwrap_seconds: Annotated[float, Range(0.1, 3600.0)] = 60.0
    """Seconds of processor time after which the layout of the texture is given up for a simpler one."""


@dataclass(frozen=True)
class ExportSettings(MeshSettings):
    """How a field is turned into files; the defaults take some 20 s on two CPU cores."""

    sheet_size: Annotated[int, Range(16, 2048)] = 192
    """Pixels a side of one view in the contact sheet."""
    video_size: Annotated[int, Range(1, 2048)] = 256
    """Pixels a side of the turntable video."""
    video_frames: Annotated[int, Range(1, 3600)] = 60
    """Frames of one turn."""
    video_fps: Annotated[int, Range(1, 60)] = 24
    """Frames a second."""
    lapse_frames: Annotated[int, Range(0, 3600)] = 40
    """Images rendered while training for the time-lapse; 0 for none."""
    still_samples: Annotated[int, Range(1, 4096)] = 64
    """Samples a ray in exported images and videos; with an occupancy, 64 are within 2 of 255 levels of 512."""

    loose: bool = False
    """Whether pictures show the haze around the object and small pieces apart from it, which a mesh never has."""

    def most_bytes(self) -> int:
        """Estimate the most bytes that the default files take: mesh, contact sheet and video."""
        sheet, video = 8 * 3 * self.sheet_size**2, self.video_frames * self.video_size**2 // 2
        return 40 * self.max_faces + sheet + video
