"""Lay the faces of a mesh out in its texture.

xatlas makes large charts, but on some meshes it does not end. So it runs in a child process with a time limit; the
fallback is an atlas of single triangles, which any mesh has as long as the texture gives each a few texels.
"""

import math
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dreamfields.export.mesh.mesh import Mesh

PROGRAM: Final = Path(__file__).with_name("unwrap_program.py")

CLOCK_FACTOR: Final = 4.0
"""Limit of a child's wall-clock time as a multiple of that of its processor time, as the machine may be busy."""

PADDING: Final = 4
"""Texels between two charts."""

SMALLEST_CELL: Final = 8
"""Fewest texels a side of the square that two triangles share; with fewer, vertex colours show more."""


@dataclass(frozen=True)
class Atlas:
    """A layout of a mesh's faces in the plane; the arrays are those of `mesh.Texture`."""

    uv: NDArray[np.float32]
    """(w, 2) in [0, 1], from the left and the bottom."""
    vertices: NDArray[np.int32]
    """(w,)"""
    faces: NDArray[np.int32]
    """(f, 3)"""
    note: str = ""
    """Why it is not by xatlas, as a sentence; empty if it is."""


def unwrap(mesh: Mesh, size: int, seconds: float) -> Atlas | str:
    """Lay a mesh out in size x size texels within so many seconds; return the reason where that cannot be done."""
    try:
        return charts(mesh, size, seconds)
    except RuntimeError as error:
        reason = str(error)
    single = triangles(mesh, size)
    if single is None:
        return f"the mesh has vertex colours, no texture: {reason}, and {len(mesh.faces)} faces are too many for {size}"
    return Atlas(single.uv, single.vertices, single.faces, f"the texture is laid out triangle by triangle: {reason}")


def charts(mesh: Mesh, size: int, seconds: float) -> Atlas:
    """Lay a mesh out in charts with xatlas, in a child process that is killed after so many seconds of processor time.

    Not of the clock, so that a busy machine makes the same texture as an idle one; but a child that sleeps is killed
    too, after `CLOCK_FACTOR` times as long.

    Raises:
        RuntimeError: xatlas is missing, failed, hung, or returned something other than this mesh; the message says it.
    """
    counts = np.array([len(mesh.vertices), len(mesh.faces), size, PADDING], "<u4")
    parts = (counts, mesh.vertices.astype("<f4"), mesh.faces.astype("<u4"))
    request = b"".join(part.tobytes() for part in parts)
    try:
        # -P keeps the program's folder, whose modules have common names, out of its imports.
        command = [sys.executable, "-P", str(PROGRAM), str(seconds)]
        ended = subprocess.run(command, input=request, capture_output=True, timeout=CLOCK_FACTOR * seconds, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"xatlas did not end within {CLOCK_FACTOR * seconds:g} s") from None
    except OSError as error:
        raise RuntimeError(f"Python cannot be started for xatlas ({error.strerror or error})") from error
    if ended.returncode == -signal.SIGXCPU:
        raise RuntimeError(f"xatlas did not end within {seconds:g} s of work")
    if ended.returncode == 3:
        raise RuntimeError("xatlas is not installed")
    if ended.returncode != 0:
        raise RuntimeError(f"xatlas failed with code {ended.returncode}")
    return _read(ended.stdout, mesh)


def triangles(mesh: Mesh, size: int) -> Atlas | None:
    """Lay each face out alone, two in a square, in size x size texels; return None if they get too small."""
    count = len(mesh.faces)
    squares = math.ceil(math.sqrt(math.ceil(count / 2)))
    cell = size // squares
    if cell < SMALLEST_CELL:
        return None
    # Corners within the square: one triangle below its diagonal and one above, two texels apart.
    low, high = 1.0, cell - 3.0
    below = np.array([[low, low], [high, low], [low, high]])
    both = np.stack([below, cell - below])
    index = np.arange(count)
    row, column = np.divmod(index // 2, squares)
    texels = both[index % 2] + cell * np.stack([column, row], axis=1)[:, None]
    uv = (texels / size).astype(np.float32).reshape(-1, 2)
    corners = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    return Atlas(uv, mesh.faces.reshape(-1).astype(np.int32), corners)


def _read(answer: bytes, mesh: Mesh) -> Atlas:
    """Return the atlas in the child's answer after checking that it is one of this mesh."""
    broken = RuntimeError("xatlas gave an atlas that is not the mesh's")
    if len(answer) < 8:
        raise broken
    corner_count, face_count = (int(count) for count in np.frombuffer(answer, "<u4", 2))
    if face_count != len(mesh.faces) or len(answer) != 8 + 4 * (3 * corner_count + 3 * face_count):
        raise broken
    sources = np.frombuffer(answer, "<u4", corner_count, 8)
    faces = np.frombuffer(answer, "<u4", 3 * face_count, 8 + sources.nbytes).reshape(-1, 3)
    uv = np.frombuffer(answer, "<f4", offset=8 + sources.nbytes + faces.nbytes).reshape(-1, 2)
    if faces.max(initial=0) >= corner_count or not np.array_equal(sources[faces], mesh.faces):
        raise broken
    if not (np.isfinite(uv).all() and uv.min() >= 0.0 and uv.max() <= 1.0):
        raise broken
    return Atlas(uv, sources.astype(np.int32), faces.astype(np.int32))
