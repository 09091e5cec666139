"""How well a mesh matches its field: silhouettes and colours compared in views that coloured no texture."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dreamfields.export.mesh.colours import SurfaceView
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.mesh.raster import Coverage
from dreamfields.scene.cameras import Camera, turntable

VIEWS: Final = 8


@dataclass(frozen=True)
class MeshFidelity:
    """How similar renderings of a mesh and its field are; the field's silhouette is where its opacity is >= 0.5."""

    silhouette_iou: float  # Intersection over union of the silhouettes, the mean over views, in [0, 1]
    lowest_iou: float  # The lowest of any view
    colour_psnr: float  # Peak signal-to-noise ratio over white of all views' pixels, in decibels
    views: int  # Number of views

    def to_json(self) -> dict[str, float]:
        """Return the numbers, rounded to their precision."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def held_out_cameras(cameras: Sequence[Camera]) -> list[Camera]:
    """Return eight cameras around the target of others, lower and between their azimuths."""
    around = turntable(VIEWS, 10.0, cameras[0].fov_deg, cameras[0].target)
    return [replace(camera, azimuth_deg=camera.azimuth_deg + 180.0 / VIEWS) for camera in around]


def mesh_fidelity(mesh: Mesh, views: Sequence[SurfaceView]) -> MeshFidelity:
    """Compare a mesh with its field in renderings of both."""
    ious, errors = [], []
    for view in views:
        silhouette = view.rendering.opacity[0, 0].cpu().numpy() >= 0.5
        union = (silhouette | view.coverage.mask).sum()
        ious.append((silhouette & view.coverage.mask).sum() / union if union else 1.0)
        expected = view.rendering.over(1.0)[0].permute(1, 2, 0).cpu().numpy()
        errors.append(np.square(unlit_over_white(mesh, view.coverage) - expected).mean())
    error = max(float(np.mean(errors)), 1e-10)
    return MeshFidelity(float(np.mean(ious)), float(np.min(ious)), -10.0 * float(np.log10(error)), len(views))


def unlit_over_white(mesh: Mesh, coverage: Coverage) -> NDArray[np.float32]:
    """Return an image (size, size, 3) in [0, 1] of a mesh in its own colours, without light, over white."""
    if mesh.texture is None:
        colours = coverage.interpolate(mesh.colours.astype(np.float32), mesh.faces)
    else:
        size = len(mesh.texture.image)
        uv = coverage.interpolate(mesh.texture.atlas.uv, mesh.texture.atlas.faces)
        texels = np.clip((uv * [size, -size] + [0.0, size]).astype(np.int64), 0, size - 1)
        colours = mesh.texture.image[texels[:, 1], texels[:, 0]].astype(np.float32)
    image = np.ones((*coverage.mask.shape, 3), np.float32)
    image[coverage.mask] = colours / 255.0
    return image
