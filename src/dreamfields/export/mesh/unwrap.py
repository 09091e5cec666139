"""Lay the faces of a mesh out in its texture.

xatlas makes large charts but does not end on some meshes, so it runs in a child process with a time limit. The fallback
is an atlas of single triangles, which any mesh has as long as the texture gives each a few texels.
"""

import io
import math
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from dreamfields.export.mesh.mesh import Atlas, Mesh

PROGRAM: Final = Path(__file__).with_name("unwrap_program.py")

CLOCK_FACTOR: Final = 4.0  # Limit of a child's wall-clock time over that of its processor time: a machine may be busy
PADDING: Final = 4  # Texels between two charts
SMALLEST_CELL: Final = 8  # Fewest texels a side of the square of two triangles; vertex colours show more than fewer


def unwrap(mesh: Mesh, size: int, seconds: float) -> tuple[Atlas | None, str]:
    """Lay a mesh out in size x size texels; return the atlas, None without room, and why it is not by xatlas or ""."""
    try:
        return charts(mesh, size, seconds), ""
    except RuntimeError as error:
        reason = str(error)
    if (atlas := triangles(mesh, size)) is not None:
        return atlas, f"the texture is laid out triangle by triangle: {reason}"
    faces = len(mesh.faces)
    return None, f"the mesh has vertex colours, no texture: {reason}, and {faces} faces are too many for {size}"


def charts(mesh: Mesh, size: int, seconds: float) -> Atlas:
    """Lay a mesh out in charts with xatlas, in a child process that is killed after so many seconds of processor time.

    Processor time, so that a busy machine makes the same texture as an idle one. `CLOCK_FACTOR` ends one that sleeps.
    Raises RuntimeError: xatlas is missing, failed, hung, or returned an atlas of another mesh; the message says which.
    """
    request = io.BytesIO()
    np.savez(request, vertices=mesh.vertices, faces=mesh.faces)
    # -P keeps the program's folder, whose modules have common names, out of its imports.
    command = [sys.executable, "-P", str(PROGRAM), str(seconds), str(size), str(PADDING)]
    limit = CLOCK_FACTOR * seconds
    try:
        ended = subprocess.run(command, input=request.getvalue(), capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"xatlas did not end within {limit:g} s") from None
    except OSError as error:
        raise RuntimeError(f"Python cannot be started for xatlas ({error.strerror or error})") from error
    faults = {-signal.SIGXCPU: f"did not end within {seconds:g} s of work", 3: "is not installed"}
    if ended.returncode != 0:
        raise RuntimeError(f"xatlas {faults.get(ended.returncode, f'failed with code {ended.returncode}')}")
    return _read(ended.stdout, mesh)


def triangles(mesh: Mesh, size: int) -> Atlas | None:
    """Lay each face out alone, two in a square, in size x size texels; return None if they get too small."""
    count = len(mesh.faces)
    squares = math.ceil(math.sqrt(math.ceil(count / 2)))
    cell = size // squares
    if cell < SMALLEST_CELL:
        return None
    # Corners within the square: one triangle below its diagonal and one above, two texels apart.
    below = np.array([[1.0, 1.0], [cell - 3.0, 1.0], [1.0, cell - 3.0]])
    both = np.stack([below, cell - below])
    index = np.arange(count)
    row, column = np.divmod(index // 2, squares)
    texels = both[index % 2] + cell * np.stack([column, row], axis=1)[:, None]
    uv = (texels / size).astype(np.float32).reshape(-1, 2)
    corners = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    return Atlas(uv, mesh.faces.reshape(-1).astype(np.int32), corners)


def _read(answer: bytes, mesh: Mesh) -> Atlas:
    """Return the atlas in the child's answer after checking that it is one of this mesh."""
    try:
        with np.load(io.BytesIO(answer), allow_pickle=False) as arrays:
            atlas = Atlas(arrays["uv"], arrays["vertices"], arrays["faces"])
        same = np.array_equal(atlas.vertices[atlas.faces], mesh.faces) and atlas.uv.shape == (len(atlas.vertices), 2)
        whole = same and bool(((atlas.uv >= 0.0) & (atlas.uv <= 1.0)).all())
    except (EOFError, IndexError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
        whole = False
    if not whole:
        raise RuntimeError("xatlas gave an atlas that is not the mesh's")
    return atlas
