"""How well a mesh stands for its field: silhouettes and colours compared from sides that made neither."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dreamfields.export.mesh.mesh import Floats, Mesh
from dreamfields.export.mesh.projection import Look
from dreamfields.export.mesh.raster import Coverage
from dreamfields.scene.cameras import Camera, turntable

SIDES: Final = 8


@dataclass(frozen=True)
class MeshFidelity:
    """What is the same in renderings of a mesh and of its field."""

    silhouette_iou: float
    """Pixels in both silhouettes over pixels in either, the mean over views, in [0, 1]; the field's is where it is at
    least half opaque."""
    lowest_iou: float
    """The least of any view."""
    colour_psnr: float
    """Peak signal-to-noise ratio over white of all views' pixels, in decibels."""
    views: int
    """Number of views."""

    def to_json(self) -> dict[str, float]:
        """Return the numbers, rounded to what they are good for."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def sides(looks: Sequence[Camera]) -> list[Camera]:
    """Return eight cameras around what other cameras look at, between their azimuths and lower."""
    first = looks[0]
    around = turntable(SIDES, 10.0, first.fov_deg, first.target)
    return [Camera(one.azimuth_deg + 180.0 / SIDES, 10.0, one.radius, one.fov_deg, one.target) for one in around]


def fidelity(mesh: Mesh, looks: Sequence[Look]) -> MeshFidelity:
    """Compare a mesh with its field in what cameras see of both."""
    fractions, errors = [], []
    for one in looks:
        silhouette = one.field.opacity[0, 0].cpu().numpy() >= 0.5
        either = (silhouette | one.mesh.mask).sum()
        fractions.append((silhouette & one.mesh.mask).sum() / either if either else 1.0)
        expected = one.field.over(1.0)[0].permute(1, 2, 0).cpu().numpy()
        errors.append(np.square(over_white(mesh, one.mesh) - expected).mean())
    noise = max(float(np.mean(errors)), 1e-10)
    return MeshFidelity(float(np.mean(fractions)), float(np.min(fractions)), -10.0 * float(np.log10(noise)), len(looks))


def over_white(mesh: Mesh, coverage: Coverage) -> NDArray[np.float32]:
    """Return a picture (size, size, 3) in [0, 1] of a mesh in its own colours, without light, over white."""
    picture = np.ones((*coverage.mask.shape, 3), np.float32)
    picture[coverage.mask] = _colours(mesh, coverage) / 255.0
    return picture


def _colours(mesh: Mesh, coverage: Coverage) -> Floats:
    if mesh.texture is None:
        return coverage.interpolate(mesh.colours.astype(np.float32), mesh.faces)
    size = len(mesh.texture.image)
    uv = coverage.interpolate(mesh.texture.uv, mesh.texture.faces)
    texels = np.clip((uv * [size, -size] + [0.0, size]).astype(np.int64), 0, size - 1)
    colours: Floats = mesh.texture.image[texels[:, 1], texels[:, 0]].astype(np.float32)
    return colours
