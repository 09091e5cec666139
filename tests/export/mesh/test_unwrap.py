"""Atlases: each face has texels of its own, and there is an atlas whatever xatlas does."""

import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dreamfields.export.mesh import unwrap as unwraps
from dreamfields.export.mesh.mesh import Atlas, Mesh
from dreamfields.export.mesh.raster import cover
from dreamfields.export.mesh.surface import extract_mesh
from dreamfields.export.mesh.unwrap import charts, triangles, unwrap
from dreamfields.export.settings import ExportSettings
from tests.support.fields import sphere


@cache
def ball() -> Mesh:
    return extract_mesh(sphere(0.6), ExportSettings(mesh_cells=24, max_faces=800))


def overlaps(atlas: Atlas, size: int) -> int:
    """Return how many texels lie in more than one face."""
    counts = np.zeros((size, size), int)
    for corners in (atlas.uv * size)[atlas.faces]:
        counts += cover(corners[None], size).mask
    return int((counts > 1).sum())


def shape_kept(atlas: Atlas, mesh: Mesh) -> bool:
    return np.array_equal(atlas.vertices[atlas.faces], mesh.faces)


def test_charts_hold_every_face_once_within_the_picture() -> None:
    atlas = charts(ball(), 128, 60.0)
    assert shape_kept(atlas, ball())
    assert atlas.uv.min() >= 0.0
    assert atlas.uv.max() <= 1.0
    assert overlaps(atlas, 128) == 0
    # Neighbours share corners: there are seams, but few.
    assert len(atlas.uv) < 2 * len(ball().vertices)


@pytest.mark.parametrize("size", [200, 256])
def test_single_triangles_hold_every_face_once_with_room_between(size: int) -> None:
    atlas = triangles(ball(), size)
    assert atlas is not None
    assert shape_kept(atlas, ball())
    assert overlaps(atlas, size) == 0
    assert np.unique(cover((atlas.uv * size)[atlas.faces], size).faces).tolist() == list(range(-1, len(ball().faces)))


def test_single_triangles_need_room() -> None:
    assert triangles(ball(), 100) is None


def program(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Run another program instead of the one with xatlas."""
    file = folder / "program.py"
    file.write_text(text)
    monkeypatch.setattr(unwraps, "PROGRAM", file)


SAYS_NOTHING = "import sys; sys.stdin.buffer.read()"
SLEEPS = "import time; time.sleep(60)"
WORKS_FOR_EVER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
while True: pass
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SLEEPS, "did not end within"),
        (WORKS_FOR_EVER, "did not end within"),
        ("import sys; sys.exit(3)", "xatlas is not installed"),
        ("import os; os.abort()", "xatlas failed with code -6"),
        ("import os; os.kill(os.getpid(), 9)", "xatlas failed with code -9"),
        ("raise ValueError", "xatlas failed with code 1"),
        (SAYS_NOTHING, "not the mesh's"),
        (f"{SAYS_NOTHING}; sys.stdout.buffer.write(bytes(8))", "not the mesh's"),
    ],
)
def test_whatever_xatlas_does_there_is_a_layout_in_time_that_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, reason: str
) -> None:
    program(monkeypatch, tmp_path, text)
    began = time.perf_counter()
    limit = 0.2 if text == SLEEPS else 1.0
    atlas, note = unwrap(ball(), 256, limit)
    if text == SLEEPS:
        assert time.perf_counter() - began < 20.0  # Four times the limit, and what a busy machine adds.
    assert atlas is not None
    assert shape_kept(atlas, ball())
    assert note.startswith("the texture is laid out triangle by triangle: ")
    assert reason in note


def test_an_atlas_of_another_mesh_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    turned = Mesh(ball().vertices, ball().faces[:, [1, 2, 0]], ball().colours)
    genuine = unwraps.PROGRAM.read_text()
    mixed = genuine.replace("faces=faces.astype", "faces=faces[:, [1, 2, 0]].astype")
    assert mixed != genuine
    program(monkeypatch, tmp_path, mixed)
    atlas, note = unwrap(turned, 256, 60.0)
    assert atlas is not None
    assert "not the mesh's" in note


def test_where_even_triangles_have_no_room_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(monkeypatch, tmp_path, "import sys; sys.exit(3)")
    atlas, note = unwrap(ball(), 64, 1.0)
    assert atlas is None
    assert note.startswith("the mesh has vertex colours, no texture: xatlas is not installed")
