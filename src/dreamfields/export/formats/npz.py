"""NPZ: the field itself, for research code: densities and colours on an even lattice over the cube [-1, 1]^3."""

import io
import json

import numpy as np
import torch
from numpy.typing import NDArray

from dreamfields.errors import DegenerateError
from dreamfields.export.asset import Asset
from dreamfields.export.formats.archive import zip_bytes
from dreamfields.export.settings import Metadata
from dreamfields.scene.fields.base import AbstractField, Query, lattice


def write(asset: Asset, name: str) -> dict[str, bytes]:
    """Return the field's volumes as one NPZ file."""
    return {f"{name}.npz": npz_bytes(asset.field, asset.settings.mesh_cells, asset.facts)}


def npz_bytes(field: AbstractField, cells: int, metadata: Metadata) -> bytes:
    """Return a field on cells+1 nodes a side as what `numpy.load` reads without pickle.

    `density` is float32 (n, n, n) in inverse scene units and `colour` float32 (n, n, n, 3) sRGB in [0, 1], both indexed
    [z, y, x]; `facts` is a JSON text.

    Raises:
        DegenerateError: a value is not finite.
    """
    with torch.no_grad():
        values = field.evaluator()(_nodes(field, cells))
    n = cells + 1
    density = values.density.reshape(n, n, n).float().cpu().numpy()
    colour = values.colour.reshape(n, n, n, 3).float().cpu().numpy()
    if not (np.isfinite(density).all() and np.isfinite(colour).all()):
        raise DegenerateError("the field holds values that are not finite; resume from an earlier checkpoint")
    facts = np.array(json.dumps(dict(metadata), ensure_ascii=True))
    return zip_bytes({"density.npy": npy(density), "colour.npy": npy(colour), "facts.npy": npy(facts)})


def npy(array: NDArray[np.generic]) -> bytes:
    """Return an array as the bytes of an NPY file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _nodes(field: AbstractField, cells: int) -> Query:
    return lattice(cells, next(field.parameters()).device)
