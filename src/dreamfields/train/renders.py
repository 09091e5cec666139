"""Renderings of coloured 3D models as generation shows its own objects: cameras, lights, backgrounds, augmentation."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamfields.export.mesh.mesh import face_areas
from dreamfields.export.mesh.raster import cover_view, shaded
from dreamfields.optimize.randomness import derive_seed, seeded_generator
from dreamfields.render.backgrounds import draw_backgrounds
from dreamfields.render.compose import compose_views, draw_augmentation
from dreamfields.render.renderer import Rendering
from dreamfields.render.settings import AugmentSettings, BackgroundSettings
from dreamfields.render.shading import AMBIENT, DIFFUSE, light_beside
from dreamfields.reprs import short_repr
from dreamfields.scene.cameras import Camera
from dreamfields.scene.settings import CameraSettings
from dreamfields.train.colours import main_part, painted
from dreamfields.train.looks import Look
from dreamfields.train.views import VARIED_SIZE

Floats = NDArray[np.floating[Any]]

_CAMERAS, _BACKGROUNDS, _AUGMENT = CameraSettings(), BackgroundSettings(), AugmentSettings()
_SIZES: Final = (96, 128, 160)  # Pixels a side of a view before it is enlarged; generation has 96
_EXTENT: Final = (0.55, 0.95)  # Half extent of a model in scene units
_TURN_DEG: Final = 8.0  # Chance of the azimuth in degrees, either way
_LIGHT_TURN_DEG: Final = 60.0  # Largest azimuth between light and camera, as in textureless views of generation
_SHADED: Final = (0.1, 0.7)  # How much the light counts in a coloured picture
_PAINT_SHIFT: Final = 0.03  # Standard deviation of a painted colour from what its word names, in OKLab


@dataclass(frozen=True)
class Model:
    """A coloured triangle mesh: +Y up, centred, with the largest half extent 1; its faces may have either winding."""

    vertices: Floats  # (v, 3)
    faces: NDArray[np.integer[Any]]  # (m, 3)
    colours: Floats  # (v, 3) sRGB in [0, 1]

    __repr__ = short_repr


def rendered(model: Model, look: Look, stream: str, view: int) -> Tensor:
    """Return one view of a look: (3, s, s) in [0, 1] with s = `VARIED_SIZE`; chance comes from stream and view."""
    draws = np.random.default_rng(derive_seed(0, f"render of {stream}", view))
    generator = seeded_generator(0, f"background of {stream}", view)
    camera, size = _camera(look, draws), int(draws.choice(_SIZES))
    seen = replace(model, vertices=model.vertices * draws.uniform(*_EXTENT))
    if look.paint:
        shift = draws.normal(0.0, _PAINT_SHIFT, 3)
        seen = replace(seen, colours=_painted(seen, look, shift))
    strength = 1.0 if look.textureless else float(draws.uniform(*_SHADED))
    turn = float(draws.uniform(-_LIGHT_TURN_DEG, _LIGHT_TURN_DEG))
    light = np.array(light_beside(camera.azimuth_deg, turn_deg=turn))
    rendering = drawn(seen, camera, size, light, strength, look.textureless)
    background = draw_backgrounds(_BACKGROUNDS, 1, size, generator)
    augmentation = draw_augmentation(1, VARIED_SIZE, _AUGMENT, generator)
    return compose_views(rendering, background, augmentation)[0]


def drawn(model: Model, camera: Camera, size: int, light: Floats, strength: float, textureless: bool) -> Rendering:
    """Rasterise a model at size x size pixels, each the mean of four: (1, ...), without depth.

    `light` (3,) is the unit direction to the lamp; with strength 0 colours are shown as they are, with 1 all of their
    brightness comes from the light, as in `render.shading`.
    """
    coverage = cover_view(model.vertices, model.faces, camera, 2 * size)
    normals = face_areas(model.vertices, model.faces)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    # Faces of either winding are lit on the side that the camera sees.
    to_camera = camera.position().numpy() - model.vertices[model.faces[:, 0]]
    facing = np.where((normals * to_camera).sum(axis=1) < 0.0, -1.0, 1.0)
    shade = AMBIENT + DIFFUSE * np.maximum(facing * (normals @ light), 0.0)
    colours = np.ones_like(model.vertices) if textureless else model.colours
    image = shaded(coverage, model.faces, colours, 1.0 - strength + strength * shade)
    colour, opacity = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().split([3, 1], dim=1)
    return Rendering(colour, opacity, torch.zeros_like(opacity))


def _camera(look: Look, draws: np.random.Generator) -> Camera:
    return Camera(
        look.azimuth_deg + float(draws.uniform(-_TURN_DEG, _TURN_DEG)),
        float(draws.uniform(*_CAMERAS.elevation_deg)),
        _CAMERAS.radius,
        float(draws.uniform(*_CAMERAS.fov_deg)),
    )


def _painted(model: Model, look: Look, shift: Floats) -> Floats:
    areas = np.zeros(len(model.vertices))
    sizes = np.linalg.norm(face_areas(model.vertices, model.faces), axis=1)
    np.add.at(areas, model.faces, sizes[:, None])
    part = np.ones(len(areas), bool) if look.whole else main_part(model.colours, areas)
    return painted(model.colours, part, look.paint, shift)
