"""The shape of a run as its newest checkpoint has it: one picture and a light mesh. This is where torch gets loaded.

Checkpoints are read, never the memory of who optimises: looking on cannot change a run.
"""

from dataclasses import dataclass, replace
from typing import Final

import torch

from dreamfields import __version__
from dreamfields.config import Config
from dreamfields.errors import DegenerateError
from dreamfields.export.formats.glb import glb_bytes
from dreamfields.export.mesh.surface import extract_mesh
from dreamfields.export.pictures.stills import png_bytes, view
from dreamfields.export.settings import Metadata
from dreamfields.optimize.state import TrainingState
from dreamfields.render.framing import frame
from dreamfields.runs.checkpoint import load_newest, manifests
from dreamfields.runs.directory import RunDirectory
from dreamfields.scene.cameras import Camera

AZIMUTH_DEG: Final = 30.0
ELEVATION_DEG: Final = 18.0
SAMPLES: Final = 48
# A network is some hundred times slower to look at than voxels.
PICTURE_SIZE: Final = {"voxels": 320, "mlp": 96}
MESH_CELLS: Final = {"voxels": 64, "mlp": 40}
MESH_FACES: Final = 20_000


@dataclass(frozen=True)
class Preview:
    """What there is to see of one checkpoint."""

    name: str
    """The checkpoint's, which tells it from others."""
    step: int
    """Steps done in its attempt."""
    picture: bytes
    """PNG."""
    mesh: bytes
    """GLB; empty where there is no surface yet."""


def newest_checkpoint(directory: RunDirectory) -> str:
    """Return the name of the newest checkpoint; empty if there is none."""
    found = manifests(directory.checkpoints)
    return found[0].stem if found else ""


def make_preview(directory: RunDirectory, config: Config, name: str) -> Preview:
    """Look at the newest checkpoint of a run, on one thread of the CPU, and call it by a name.

    Raises:
        CheckpointError: no checkpoint is whole.
        DegenerateError: the field holds values that are not finite.
    """
    # The cores and the accelerator belong to who optimises.
    torch.set_num_threads(1)
    saved = load_newest(directory.checkpoints)
    state = TrainingState(config.recipe, config.seed, torch.device("cpu"))
    state.restore(saved.tensors, saved.counters)
    kind = config.recipe.field
    framing = frame(state.field)
    camera = Camera(AZIMUTH_DEG, ELEVATION_DEG, fov_deg=framing.fov_deg, target=framing.target)
    facts: Metadata = {"prompt": config.prompt, "seed": config.seed, "generator": f"dreamfields {__version__}"}
    picture = view(state.field, camera, PICTURE_SIZE[kind], SAMPLES, state.occupancy)
    cells, faces = min(config.export.mesh_cells, MESH_CELLS[kind]), min(config.export.max_faces, MESH_FACES)
    try:
        mesh = glb_bytes(
            extract_mesh(state.field, replace(config.export, mesh_cells=cells, max_faces=faces)),
            facts,
        )
    except DegenerateError:
        mesh = b""
    return Preview(name, state.step, png_bytes(picture, facts), mesh)
