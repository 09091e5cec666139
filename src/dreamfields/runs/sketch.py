"""The prior's object as a field of its own, to be shown and exported."""

from typing import Final

from dreamfields import __version__
from dreamfields.export.settings import ExportSettings
from dreamfields.optimize.settings import InitSettings
from dreamfields.prior.lookup import Found
from dreamfields.scene.coarse import CoarseObject, write_into
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.settings import VoxelSettings

SETTINGS: Final = ExportSettings(mesh_cells=48, max_faces=8_000, texture_size=0, still_samples=48)
CELLS: Final = 32  # Cells a side of the grid that says where the sketch is
THRESHOLD: Final = 0.5  # Density from which a cell belongs to it
_LEVELS: Final = 4  # Grids of the field; the last has 32 cells a side


def sketch_field(coarse: CoarseObject) -> VoxelField:
    """Return a field that is a coarse object, of the size that runs start from."""
    field = VoxelField(VoxelSettings(levels=_LEVELS))
    write_into(field, coarse, InitSettings().extent)
    return field


def sketch_facts(prompt: str, found: Found) -> dict[str, str | int | float]:
    """Return the facts that the files of a sketch carry."""
    return {
        "prompt": prompt,
        "subject": found.subject,
        "shape": found.prediction.name,
        "generator": f"dreamfields {__version__}, prior alone",
        **({"credit": found.prediction.credit} if found.prediction.credit else {}),
    }
