"""The live preview of a run: an image and a light mesh of its newest checkpoint, made from files alone."""

from dataclasses import dataclass, replace

import torch

from dreamfields import __version__
from dreamfields.config import Config
from dreamfields.errors import DegenerateError
from dreamfields.export.formats.glb import glb_bytes
from dreamfields.export.formats.table import AR_MM
from dreamfields.export.mesh.surface import extract_mesh
from dreamfields.export.pictures.stills import png_bytes, view
from dreamfields.export.settings import Metadata
from dreamfields.optimize.state import TrainingState
from dreamfields.render.framing import frame
from dreamfields.runs.checkpoint import load_newest, manifests
from dreamfields.runs.directory import RunDirectory
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields import FIELDS

_SAMPLES, _MESH_FACES = 48, 20_000  # Samples a ray of the image; most faces of the mesh


@dataclass(frozen=True)
class Preview:
    """A rendered checkpoint."""

    name: str  # Of the checkpoint
    step: int  # Steps done in its attempt
    image: bytes  # PNG
    mesh: bytes  # GLB; empty while there is no surface


def newest_checkpoint(directory: RunDirectory) -> str:
    """Return the name of the newest checkpoint; empty if there is none."""
    found = manifests(directory.checkpoints)
    return found[0].stem if found else ""


def make_preview(directory: RunDirectory, config: Config, name: str) -> Preview:
    """Render the newest checkpoint, which is called `name`, on one thread of the CPU.

    Raises CheckpointError: no checkpoint is whole; DegenerateError: the field holds values that are not finite.
    """
    # The other cores and the accelerator belong to the optimiser.
    torch.set_num_threads(1)
    saved = load_newest(directory.checkpoints)
    state = TrainingState(config.recipe, config.seed, torch.device("cpu"))
    state.restore(saved.tensors, saved.counters)
    kind, export, framing = FIELDS[config.recipe.field], config.export, frame(state.field)
    camera = Camera(azimuth_deg=30.0, elevation_deg=18.0, fov_deg=framing.fov_deg, target=framing.target)
    facts: Metadata = {"prompt": config.prompt, "seed": config.seed, "generator": f"dreamfields {__version__}"}
    image = png_bytes(view(state.field, camera, kind.preview_size, _SAMPLES, state.occupancy), facts)
    cells, faces = min(export.mesh_cells, kind.preview_cells), min(export.max_faces, _MESH_FACES)
    try:
        mesh = glb_bytes(extract_mesh(state.field, replace(export, mesh_cells=cells, max_faces=faces)), facts, AR_MM)
    except DegenerateError:
        mesh = b""
    return Preview(name, state.step, image, mesh)
