"""The field of a name."""

import torch

from dreamfields.scene.fields.base import AbstractField
from dreamfields.scene.fields.mlp import MlpField
from dreamfields.scene.fields.nerf import NerfField
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.settings import FieldName, MlpSettings, VoxelSettings


def make_field(name: FieldName, voxels: VoxelSettings, mlp: MlpSettings, generator: torch.Generator) -> AbstractField:
    """Make a field at its start, on the CPU; the generator gives random weights to one that has them."""
    match name:
        case "voxels":
            return VoxelField(voxels)
        case "mlp":
            return MlpField(mlp, generator)
        case "nerf":
            return NerfField(mlp, generator)
