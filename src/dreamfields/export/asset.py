"""What is taken away of a run: its field, and all that is made from it for more than one file, each made once."""

from functools import cached_property
from typing import Any, Final, final

from torch import Tensor

from dreamfields.export.mesh import components as components
from dreamfields.export.mesh import fidelity as fidelity
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.mesh.projection import Look, look
from dreamfields.export.mesh.surface import extract_mesh
from dreamfields.export.mesh.texture import textured
from dreamfields.export.settings import ExportSettings, Metadata
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField

PRINT_MM: Final = 100.0
"""Largest extent of a printed object in millimetres: it fits every common printer, and is easily scaled there."""

TEXELS_PER_PIXEL: Final = 4
"""Texels a side of a texture for each pixel a side of the renderings that colour it: a look has a side of the object in
view, and the texture all of its sides, spread out."""

FIT_SIZE: Final = 128
"""Pixels a side of the renderings that a mesh is compared with."""


@final
class Asset:
    """A field and its mesh.

    Attributes:
        field: what is there.
        settings: how it is turned into files.
        facts: what travels inside the files.
        occupancy: cells that may hold density, bool (k, k, k); None for everywhere.
        size_mm: largest extent in millimetres, in formats that have a size.
    """

    def __init__(
        self,
        field: AbstractField,
        settings: ExportSettings,
        facts: Metadata,
        *,
        occupancy: Tensor | None = None,
        size_mm: float = PRINT_MM,
    ) -> None:
        """Hold a field; nothing is made yet."""
        self.field = field
        self.settings = settings
        self.facts = facts
        self.occupancy = occupancy
        self.size_mm = size_mm

    @cached_property
    def shape(self) -> Mesh:
        """Return the mesh with a colour at each vertex.

        Raises:
            DegenerateError: the field has no surface.
        """
        return extract_mesh(self.field, self.settings)

    @cached_property
    def mesh(self) -> Mesh:
        """Return the mesh with its texture, or without where it cannot have one; see `note`."""
        return self._textured[0]

    @cached_property
    def note(self) -> str:
        """Return a sentence on what the texture lacks; empty if nothing."""
        return self._textured[1]

    @cached_property
    def fidelity(self) -> fidelity.MeshFidelity:
        """Return how well the mesh stands for the field."""
        return fidelity.fidelity(self.mesh, [self._look(camera, FIT_SIZE) for camera in fidelity.sides(self._cameras)])

    def summary(self) -> dict[str, Any]:
        """Return what run.json keeps of the mesh."""
        layout = "vertex colours" if self.mesh.texture is None else "triangles" if self.note else "charts"
        size = 0 if self.mesh.texture is None else len(self.mesh.texture.image)
        counts = {"vertices": len(self.shape.vertices), "faces": len(self.shape.faces)}
        return {**counts, "texture": layout, "texture_size": size, "note": self.note, **self.fidelity.to_json()}

    @cached_property
    def _cameras(self) -> list[Camera]:
        return components.looks(self.shape.vertices)

    @cached_property
    def _textured(self) -> tuple[Mesh, str]:
        size = self.settings.texture_size // TEXELS_PER_PIXEL
        looks = [self._look(camera, size) for camera in self._cameras] if size else []
        return textured(self.shape, self.field, self.settings, looks)

    def _look(self, camera: Camera, size: int) -> Look:
        return look(self.shape, self.field, camera, size, self.settings.still_samples, self.occupancy)
