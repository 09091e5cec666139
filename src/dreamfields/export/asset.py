"""The object to be exported: its field, and what several files share, computed once."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.export.mesh.colours import SurfaceView, render_surface_view, textured
from dreamfields.export.mesh.components import cameras_around
from dreamfields.export.mesh.fidelity import MeshFidelity, held_out_cameras, mesh_fidelity
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.mesh.surface import extract_mesh
from dreamfields.export.settings import ExportSettings, Metadata, Millimetres
from dreamfields.reprs import short_repr
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField
from dreamfields.settings import fault_in

TEXELS_PER_PIXEL: Final = 4  # Texels a side of the texture over pixels a side of the views, each of one side only
FIDELITY_SIZE: Final = 128  # Pixels a side of the views in which a mesh is compared with its field


@final
@dataclass(eq=False)
class Asset:
    """A field and its mesh, which is computed on first use."""

    field: AbstractField
    settings: ExportSettings
    facts: Metadata  # Written into the files
    occupancy: Tensor | None = None  # Cells that may hold density, bool (k, k, k); None for everywhere
    size_mm: Millimetres = None  # Largest extent, in formats with a unit of length
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # All settings of the run as JSON values

    __repr__ = short_repr

    def __post_init__(self) -> None:
        """Check the size. Raises UsageError: it is out of range."""
        if fault := fault_in("size_mm", self.size_mm, Millimetres):
            raise UsageError(fault)

    @cached_property
    def untextured(self) -> Mesh:
        """Extract the closed mesh with a colour at each vertex. Raises DegenerateError: the field has no surface."""
        return extract_mesh(self.field, self.settings)

    @cached_property
    def mesh(self) -> Mesh:
        """Return the mesh with its texture, or without where it cannot have one; see `note`."""
        return self._textured[0]

    @cached_property
    def note(self) -> str:
        """Return why the texture is missing or simpler than usual, as a sentence; empty if it is neither."""
        return self._textured[1]

    @cached_property
    def fidelity(self) -> MeshFidelity:
        """Return how well the mesh matches the field in views that did not colour it."""
        views = [self._view(camera, FIDELITY_SIZE) for camera in held_out_cameras(self._cameras)]
        return mesh_fidelity(self.mesh, views)

    def summary(self) -> dict[str, Any]:
        """Return what run.json keeps of the mesh."""
        layout = "vertex colours" if self.mesh.texture is None else "triangles" if self.note else "charts"
        size = 0 if self.mesh.texture is None else len(self.mesh.texture.image)
        counts = {"vertices": len(self.untextured.vertices), "faces": len(self.untextured.faces)}
        return {**counts, "texture": layout, "texture_size": size, "note": self.note, **self.fidelity.to_json()}

    @cached_property
    def _cameras(self) -> list[Camera]:
        return cameras_around(self.untextured.vertices)

    @cached_property
    def _textured(self) -> tuple[Mesh, str]:
        size = self.settings.texture_size // TEXELS_PER_PIXEL
        views = [self._view(camera, size) for camera in self._cameras] if size else []
        return textured(self.untextured, self.field, self.settings, views)

    def _view(self, camera: Camera, size: int) -> SurfaceView:
        samples = self.settings.still_samples
        return render_surface_view(self.untextured, self.field, camera, size, samples, self.occupancy)
