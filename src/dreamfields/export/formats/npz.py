"""NPZ: the field itself, for research code: densities and colours on an even lattice over the cube [-1, 1]^3."""

import io
import json

import numpy as np
import torch

from dreamfields.errors import DegenerateError
from dreamfields.export.asset import Asset
from dreamfields.scene.fields.base import lattice


def write(asset: Asset, name: str, _: float) -> dict[str, bytes]:
    """Return the field on n = `mesh_cells` + 1 nodes a side as an NPZ file that `numpy.load` reads without pickle.

    `density` is float32 (n, n, n) in inverse scene units and `colour` float32 (n, n, n, 3) sRGB in [0, 1], both indexed
    [z, y, x]; `facts` is a JSON text. Raises DegenerateError: a value is not finite.
    """
    n, device = asset.settings.mesh_cells + 1, next(asset.field.parameters()).device
    with torch.no_grad():
        values = asset.field.evaluator()(lattice(n - 1, device))
    density = values.density.reshape(n, n, n).float().cpu().numpy()
    colour = values.colour.reshape(n, n, n, 3).float().cpu().numpy()
    if not (np.isfinite(density).all() and np.isfinite(colour).all()):
        raise DegenerateError("the field holds values that are not finite; resume from an earlier checkpoint")
    file = io.BytesIO()
    np.savez_compressed(file, density=density, colour=colour, facts=np.array(json.dumps(dict(asset.facts))))
    return {f"{name}.npz": file.getvalue()}
