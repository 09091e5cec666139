"""The compiled renderer for CPUs: what its loops take, and how they are loaded.

Every function equals a readable reference in `render`.
"""

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from dreamfields.cpu import Bytes, Floats

CHANNELS = 4  # Values of a node of a grid


class Scene(NamedTuple):
    """One state of a voxel field, and its occupancy."""

    nodes: Floats  # ((n+1)^3 * 4,) grid values, from slow to fast: z, y, x, channel
    side: np.int32  # Nodes a side, n + 1
    occupancy: Bytes  # (k^3,) 1 for cells that may hold density, from slow to fast: z, y, x
    occupancy_side: np.int32  # Cells a side, k
    low: tuple[np.float32, np.float32, np.float32]
    high: tuple[np.float32, np.float32, np.float32]  # Corners of the box around the occupied cells, in x, y, z
    mix: tuple[np.float32, ...]  # 9 numbers: k C of `fields.voxels`, row by row
    termination: np.float32  # Transmittance at which a ray ends
    density_scale: np.float32
    density_gain: np.float32
    blob_strength: np.float32
    blob_offset: np.float32


class RayBatch(NamedTuple):
    """n rays, and how they are sampled."""

    origins: Floats  # (n, 3)
    directions: Floats  # (n, 3)
    fractions: Floats  # (s + 1,) edges of the bins, from 0 to 1
    offsets: Floats  # (n, s) or (n, 1) place of a sample in its bin: u of `volume`


class AugmentParams(NamedTuple):
    """How b images are augmented: `compose.Augmentation` as arrays."""

    side: int  # Pixels a side before, h
    size: int  # Pixels a side after, s
    level: np.float32  # Difference that one step of the noise makes
    theta: Floats  # (b, 6) matrices, row by row
    tone: Floats  # (b, 3) saturation, contrast and brightness
    grain: Bytes  # (b * 3 * s * s,) noise, from 0 to 255


class Views(NamedTuple):
    """v views and what is behind them in b images, or the gradients of the views."""

    colour: Floats  # (3, v * h * h) premultiplied by opacity
    opacity: Floats  # (v * h * h,)
    backgrounds: Floats  # (b * 3 * h * h,)


def loops(name: str) -> Any:
    """Import a module of compiled loops when it is first used, as Numba takes a second to load.

    Raises ImportError: Numba is missing, or does not fit the NumPy that is installed.
    """
    return import_module(f"{__name__}.{name}")
