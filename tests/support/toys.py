"""Tiny runs of the weightless guidance, for the tests of everything that optimises: some ten milliseconds a step."""

import hashlib
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from dreamfields.config import Config
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.base import AbstractGuidance, Guide
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.optimize.loop import Step, optimize
from dreamfields.optimize.objective import Target, make_targets
from dreamfields.optimize.settings import CollapseSettings, LossSettings, OptimizeSettings, Recipe
from dreamfields.optimize.state import TrainingState
from dreamfields.render.settings import AugmentSettings, BackgroundSettings, RenderSettings
from dreamfields.scene.settings import CameraSettings, MlpSettings, VoxelSettings

CPU = torch.device("cpu")
PROMPT = "a red ball"

# Everything that a test relies on is set here; the package's own defaults may change.
TINY = Recipe(
    guidance=GuidanceSettings(name="toy", image_size=32, template="a photo of {}", alternate=False),
    voxels=VoxelSettings(
        coarsest_cells=2,
        levels=2,
        level_scale=0.6,
        density_scale=10.0,
        density_gain=5.0,
        blob_strength=5.0,
        blob_offset=-1.0,
        colour_gain=6.0,
    ),
    cameras=CameraSettings(azimuth_deg=(0.0, 360.0), elevation_deg=(5.0, 45.0), fov_deg=(28.0, 36.0), radius=4.0),
    render=RenderSettings(size=12, samples=12, occupancy_cells=8, occupancy_every=4, occupancy_threshold=0.5),
    backgrounds=BackgroundSettings(1.0, 1.0, 1.0, 1.0, checkerboard_squares=4, fourier_decay=1.5, blur=(0.0, 0.04)),
    augment=AugmentSettings(
        scale=(0.8, 1.0),
        rotation_deg=10.0,
        shift=0.05,
        contrast=0.1,
        brightness=0.1,
        saturation=(0.8, 1.2),
        noise=0.02,
    ),
    losses=LossSettings(
        guidance=1.0,
        transmittance=0.5,
        transmittance_start=0.4,
        transmittance_end=0.8,
        transmittance_ramp=0.3,
    ),
    optimize=OptimizeSettings(
        steps=12,
        views=1,
        backgrounds=2,
        learning_rate=0.05,
        final_learning_rate=0.1,
        adam_betas=(0.9, 0.99),
        checkpoint_every=5,
    ),
    collapse=CollapseSettings(restarts=0, look_from=0.1, stuck_at=0.4, stuck_gain=0.02, memory=0.9, warm_up=3),
)
TINY_MLP = replace(
    TINY,
    field="mlp",
    # The anneal ends within the run.
    mlp=MlpSettings(frequencies=8, max_octave=3.0, anneal_steps=8, width=16, hidden=16, blocks=1),
    # Its normals are found on a lattice that takes longer than all the rest.
    render=replace(TINY.render, textureless=0.0),
    optimize=replace(TINY.optimize, learning_rate=0.01),
)
TINY_EXPORT = ExportSettings(
    mesh_cells=16,
    max_faces=500,
    level=10.0,
    texture_size=128,
    sheet_size=16,
    video_size=16,
    video_frames=3,
    video_fps=3,
    lapse_frames=3,
    still_samples=8,
)


def with_steps(steps: int, recipe: Recipe = TINY) -> Recipe:
    """Return the recipe with another number of steps."""
    return replace(recipe, optimize=replace(recipe.optimize, steps=steps))


def tiny_config(recipe: Recipe = TINY, prompt: str = PROMPT, seed: int = 0) -> Config:
    """Return the configuration of a tiny run on one thread of the CPU."""
    return Config(prompt, seed=seed, device="cpu", threads=1, recipe=recipe, export=TINY_EXPORT)


def new_state(recipe: Recipe = TINY, seed: int = 0) -> TrainingState:
    """Return the state before the first step."""
    return TrainingState(recipe, seed, CPU)


def targets_of(recipe: Recipe = TINY, prompt: str = PROMPT, guidance: AbstractGuidance | None = None) -> list[Target]:
    """Return the targets of the toy guidance, or of another."""
    chosen = guidance or ToyGuidance(recipe.guidance.image_size)
    return make_targets([Guide(chosen)], recipe.guidance.template, prompt)


def advance(
    state: TrainingState, steps: int, prompt: str = PROMPT, guidance: AbstractGuidance | None = None
) -> list[Step]:
    """Take some steps of the loop."""
    return list(islice(optimize(state, targets_of(state.recipe, prompt, guidance)), steps))


def fingerprint(state: TrainingState) -> dict[str, str]:
    """Return a digest of every tensor of a state, and its counters, by name."""
    digests = {name: digest(tensor) for name, tensor in state.tensors().items()}
    return digests | {name: repr(value) for name, value in state.counters().items()}


def digest(tensor: Tensor) -> str:
    """Return a short digest of a tensor's bytes."""
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
