"""Radiance fields: one parametrisation a file, and the table of them, which loads without torch.

A new field is one new file here, its name and settings in `scene.settings`, and one entry in `FIELDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dreamfields.scene.settings import FieldChoice, FieldName

if TYPE_CHECKING:
    from torch import Generator

    from dreamfields.scene.coarse import CoarseObject
    from dreamfields.scene.fields.base import AbstractField


@dataclass(frozen=True)
class FieldKind:
    """What the rest of the program needs to know of one field."""

    make: Callable[[FieldChoice, "Generator"], "AbstractField"]
    """Returns a new field; field and generator are on the CPU."""
    make_from: Callable[[FieldChoice, "Generator", "CoarseObject", float], "AbstractField"]
    """Returns a new field that begins as an object on the CPU with that half side in scene units."""
    parameters: Callable[[FieldChoice], int]  # Returns the number of trained parameters, for estimates of disk space
    unbounded: bool  # Whether it may extend beyond the cube (`render.bounds` off)
    density_noise: bool  # Whether noise can be added to its density (`losses.density_noise`)
    preview_size: int  # Pixels a side of the live preview's image: networks are a hundred times as slow as voxels
    preview_cells: int  # Most cells a side of the live preview's mesh


def _make_voxels(choice: FieldChoice, _: "Generator") -> "AbstractField":
    from dreamfields.scene.fields.voxels import VoxelField

    return VoxelField(choice.voxels)


def _make_voxels_from(choice: FieldChoice, _: "Generator", start: "CoarseObject", extent: float) -> "AbstractField":
    from dreamfields.scene.coarse import write_into
    from dreamfields.scene.fields.voxels import VoxelField

    write_into(field := VoxelField(choice.voxels), start, extent)
    return field


def _count_voxels(choice: FieldChoice) -> int:
    return sum(4 * (choice.voxels.coarsest_cells * 2**level + 1) ** 3 for level in range(choice.voxels.levels))


def _make_mlp(choice: FieldChoice, generator: "Generator") -> "AbstractField":
    from dreamfields.scene.fields.mlp import MlpField

    return MlpField(choice.mlp, generator)


def _count_mlp(choice: FieldChoice) -> int:
    features, width, hidden = choice.mlp.features, choice.mlp.width, choice.mlp.hidden
    block = 2 * width + (width + 1) * hidden + (hidden + 1) * width
    return (features + 1) * width + choice.mlp.blocks * block + (width + 1) * (width + 4)


def _make_nerf(choice: FieldChoice, generator: "Generator") -> "AbstractField":
    from dreamfields.scene.fields.nerf import NerfField

    return NerfField(choice.mlp, generator)


def _count_nerf(choice: FieldChoice) -> int:
    features, width = choice.mlp.features, choice.mlp.hidden
    return (2 * features + 1) * width + 7 * (width + 1) * width + (width + 1) * 4


def _fitted(
    make: Callable[[FieldChoice, "Generator"], "AbstractField"],
) -> Callable[[FieldChoice, "Generator", "CoarseObject", float], "AbstractField"]:
    """Return what makes a network that begins as an object, given what makes one at random."""

    def make_from(choice: FieldChoice, generator: "Generator", start: "CoarseObject", extent: float) -> "AbstractField":
        from dreamfields.scene.fitting import fit_to

        fit_to(field := make(choice, generator), start, extent, generator)
        return field

    return make_from


FIELDS: Final[Mapping[FieldName, FieldKind]] = MappingProxyType(
    {
        "voxels": FieldKind(
            _make_voxels, _make_voxels_from, _count_voxels, False, False, preview_size=320, preview_cells=64
        ),
        "mlp": FieldKind(_make_mlp, _fitted(_make_mlp), _count_mlp, True, True, preview_size=96, preview_cells=40),
        "nerf": FieldKind(_make_nerf, _fitted(_make_nerf), _count_nerf, True, True, preview_size=80, preview_cells=40),
    }
)
