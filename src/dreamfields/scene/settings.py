"""Settings of the scene: the region of the cameras, and the field with its parametrisation."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

from dreamfields.settings import Range, Rising, Settings

Degrees = tuple[float, float]
FieldName = Literal["voxels", "mlp", "nerf"]  # The keys of `scene.fields.FIELDS`


@dataclass(frozen=True)
class CameraSettings(Settings):
    """The region from which training views are drawn, uniformly and independently."""

    azimuth_deg: Annotated[Degrees, Range(-360.0, 360.0), Rising()] = (0.0, 360.0)
    """Lowest and highest azimuth in degrees; the paper draws from the full circle (sec. 3.2)."""
    elevation_deg: Annotated[Degrees, Range(-89.0, 89.0), Rising()] = (-10.0, 60.0)
    """Lowest and highest elevation above the horizon in degrees; the paper keeps 30. Some views from below keep the
    guidance from painting a piece of landscape under the object, which hides it from there."""
    fov_deg: Annotated[Degrees, Range(1.0, 120.0), Rising()] = (28.0, 40.0)
    """Smallest and largest full field of view in degrees; the paper trains at 33.4 and tests at 39.6."""
    radius: Annotated[float, Range(2.0, 100.0)] = 4.0
    """Distance of the camera from its target in scene units (the cube has half-side 1); the paper's value."""
    track: Literal["off", "delayed", "on"] = "off"
    """Whether cameras follow the centre of the density: never, from `track_from` on, or always as in the paper's
    presets; in its own table that costs 5.6 points."""
    track_memory: Annotated[float, Range(0.0, 1.0)] = 0.999
    """Weight of the tracked centre in its running mean; the paper's 0.999."""
    track_from: Annotated[float, Range(0.0, 1.0)] = 0.3
    """Fraction of the steps after which `delayed` follows; the centre is averaged from the first step on."""


@dataclass(frozen=True)
class VoxelSettings(Settings):
    """The `voxels` field: a sum of dense grids, each twice as fine and `level_scale` as strong as the last."""

    coarsest_cells: Annotated[int, Range(1, 64)] = 4
    """Cells a side of the coarsest grid."""
    levels: Annotated[int, Range(1, 7)] = 5
    """Number of grids; with 5 grids and 4 cells in the first the last has 64 cells a side."""
    level_scale: Annotated[float, Range(0.0, 2.0)] = 0.6
    """Strength of a grid relative to the next coarser one; below 1 favours smooth shapes."""
    density_scale: Annotated[float, Range(0.01, 1000.0)] = 10.0
    """Density per unit of the softplus, in inverse scene units."""
    density_gain: Annotated[float, Range(0.01, 100.0)] = 5.0
    """Slope of the density's pre-activation in the grid values."""
    blob_strength: Annotated[float, Range(0.0, 100.0)] = 5.0
    """Strength of the prior that fills the centre and empties the corners (DreamFusion's density blob)."""
    blob_offset: Annotated[float, Range(-20.0, 20.0)] = -1.0
    """Pre-activation added everywhere; at -4 scenes become empty, at -1 they do not."""
    colour_gain: Annotated[float, Range(0.01, 100.0)] = 6.0
    """Slope of the colour's pre-activation in the grid values."""


@dataclass(frozen=True)
class MlpSettings(Settings):
    """The `mlp` field: the paper's network over Fourier features; the defaults are those of its released code."""

    encoding: Literal["integrated", "plain"] = "integrated"
    """Whether features are averaged over the extent of a sample (mip-NeRF) or computed at its middle."""
    frequencies: Annotated[int, Range(0, 4096)] = 128
    """Random frequencies, besides one along each axis."""
    max_octave: Annotated[float, Range(0.0, 16.0)] = 8.0
    """Random frequencies have lengths from 1 to 2^max_octave radians a scene unit."""
    directions: Literal["sphere", "released", "axes"] = "sphere"
    """How frequencies are drawn: at random as in the paper, or as in its released code (about 0.15 times as long, many
    of them 0); `axes` draws none and takes the powers of 2 below 2^max_octave along each axis, as NeRF does."""
    anneal_steps: Annotated[int, Range(0, 10_000_000)] = 1000
    """Steps over which samples are enlarged for the encoding, from twice their size down to 1; 0 for never."""
    width: Annotated[int, Range(1, 4096)] = 128
    """Channels between layers."""
    hidden: Annotated[int, Range(1, 16_384)] = 256
    """Channels inside a residual block; in the `nerf` field those of each layer."""
    blocks: Annotated[int, Range(0, 64)] = 4
    """Residual blocks."""
    checkpoint_layers: bool = True
    """Whether to recompute layers for the gradient, which is a third more work, instead of storing them, which takes
    some 15 kB a sample and 20 GB for one of the paper's steps."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the layers, not of the encoding; TPUs compute in `bf16`."""
    compiled: bool = False
    """Whether torch.compile fuses the network: takes a minute, pays on a GPU; if it fails, a warning says so."""

    @property
    def features(self) -> int:
        """Return the Fourier features of a point: a cosine and a sine of each frequency."""
        return 2 * (3 * round(self.max_octave) if self.directions == "axes" else 3 + self.frequencies)


@dataclass(frozen=True)
class FieldChoice(Settings):
    """Which field is optimised, and the settings of each."""

    field: FieldName = "voxels"
    """A sum of grids, the paper's network, or NeRF's; networks need a learning rate of about 0.0001."""
    voxels: VoxelSettings = dataclasses.field(default_factory=VoxelSettings)
    """The grids."""
    mlp: MlpSettings = dataclasses.field(default_factory=MlpSettings)
    """The network."""
