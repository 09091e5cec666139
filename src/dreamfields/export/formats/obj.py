"""OBJ with its MTL and PNG: text that every modeller reads, in the world's frame and units.

Texture corners are numbered apart from vertices, so a seam of the texture does not cut the surface.
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from dreamfields.export.asset import Asset
from dreamfields.export.formats.companions import MARK
from dreamfields.export.mesh.mesh import Floats, Integers
from dreamfields.export.pictures.stills import png_bytes


def write(asset: Asset, name: str, _: float) -> dict[str, bytes]:
    """Return the mesh as an OBJ file, and where it has a texture, its MTL and PNG files; facts become comments."""
    mesh = asset.mesh
    comments = [f"# {key}: {value}".encode("unicode_escape").decode("ascii") for key, value in asset.facts.items()]
    if mesh.texture is None:
        coloured = np.concatenate([mesh.vertices, mesh.colours / 255.0], axis=1)
        return {f"{name}.obj": _text([*comments, *_rows("v", coloured), *_faces(mesh.faces[:, :, None])])}
    corners = np.stack([mesh.faces, mesh.texture.atlas.faces], axis=-1)
    points = [*_rows("v", mesh.vertices), *_rows("vt", mesh.texture.atlas.uv)]
    material = ["newmtl object", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 1", f"map_Kd {name}.png"]
    return {
        f"{name}.obj": _text([*comments, f"mtllib {name}.mtl", "usemtl object", *points, *_faces(corners)]),
        f"{name}.mtl": _text([f"# {MARK}", *comments, *material]),
        f"{name}.png": png_bytes(Image.fromarray(mesh.texture.image), {"Comment": MARK, **asset.facts}),
    }


def _rows(kind: str, values: Floats) -> Iterable[str]:
    # Nine digits distinguish any two 32-bit floats.
    return (f"{kind} {' '.join(f'{number:.9g}' for number in row)}" for row in values.tolist())


def _faces(corners: Integers) -> Iterable[str]:
    """Return a line for each of faces (f, 3, k) with k numbers a corner, counted from 1."""
    return (f"f {' '.join('/'.join(map(str, corner)) for corner in face)}" for face in (corners + 1).tolist())


def _text(lines: Iterable[str]) -> bytes:
    # Readers take names of files for UTF-8; bytes of a name that are not UTF-8 are kept unchanged.
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
