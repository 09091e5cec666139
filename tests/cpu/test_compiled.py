"""Compiled loops: what may be cached on disk, when it is renewed, and what a broken cache costs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dreamfields
from dreamfields.cpu.compiled import compiled

SOURCES = Path(dreamfields.__file__).parent
PROGRAM = """
import numpy as np
from dreamfields.render.cpu import kernels
from dreamfields.render.cpu.vectors import CHANNELS
block = np.zeros(kernels.BLOCK, np.float32)
gradient = np.ones(2**3 * CHANNELS, np.float32)
kernels.distribute(2, block, np.zeros(1, np.int32), np.full(CHANNELS, 5, np.float32), 1, gradient)
print(gradient[0], sum(kernels.distribute.stats.cache_hits.values()))
"""
ADDED, OVERWRITTEN = 6.0, 5.0
"""What `distribute` makes of a gradient of 1 and a value of 5, and what it makes of it when `scatter` overwrites."""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the compiled renderer and what it imports, without a cache."""
    copy = tmp_path / "source" / "dreamfields" / "render" / "cpu"
    root = copy.parents[1]
    for part in ("cpu", "render/cpu"):
        shutil.copytree(SOURCES / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (copy.parent, root):
        (folder / "__init__.py").touch()
    for name in ("errors.py", "storage.py"):
        shutil.copy(SOURCES / name, root)
    return copy


def distribute(package: Path, before: str = "", **more: str) -> tuple[float, bool]:
    """Run a loop of `kernels` in a new process; return its result, and whether its code came from the cache."""
    source = package.parents[2]
    environment = {"PYTHONPATH": str(source), "HOME": str(source / "home"), "PYTHONDONTWRITEBYTECODE": "1", **more}
    run = [sys.executable, "-c", before + PROGRAM]
    ended = subprocess.run(run, env=environment, cwd=source, check=True, capture_output=True, text=True)
    words = ended.stdout.split()
    return float(words[0]), words[1] == "1"


def test_code_is_cached_until_a_source_that_is_inlined_in_it_changes(package: Path) -> None:
    assert distribute(package) == (ADDED, False)
    assert distribute(package) == (ADDED, True)
    inlined = package / "vectors.py"
    code = inlined.read_text()
    changed = code.replace("cell.plus(cell.load(node), cell.lanes(share, lanes))", "cell.lanes(share, lanes)")
    assert changed != code
    inlined.write_text(changed)
    assert distribute(package) == (OVERWRITTEN, False)
    assert distribute(package) == (OVERWRITTEN, True)


def test_a_damaged_cache_is_renewed(package: Path) -> None:
    damages: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("nbi", lambda content: b"garbage"),
        ("nbi", lambda content: content.replace(b"Float", b"Flout")),  # As if a class had been renamed.
        ("nbi", lambda content: content[: len(content) // 2]),
        ("nbc", lambda content: content[: len(content) // 2]),
    ]
    distribute(package)
    for kind, damage in damages:
        files = list((package / "__pycache__").glob(f"*.{kind}"))
        assert files
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        assert distribute(package) == (ADDED, False)
    assert distribute(package) == (ADDED, True)


def test_without_a_writable_folder_in_the_package_the_cache_is_in_the_user_s_and_without_that_there_is_none(
    package: Path,
) -> None:
    (package / "__pycache__").touch()  # No folder can be made there.
    assert [distribute(package) for _ in range(2)] == [(ADDED, False), (ADDED, True)]
    home = package.parents[2] / "home"
    shutil.rmtree(home)
    home.touch()
    assert [distribute(package) for _ in range(2)] == [(ADDED, False), (ADDED, False)]


def test_without_a_home_folder_nothing_is_cached_and_no_folder_is_made(package: Path, tmp_path: Path) -> None:
    (package / "__pycache__").touch()
    # As for a user id that the system has no entry for, with HOME unset.
    homeless = """
import os.path, pathlib
os.path.expanduser = lambda path: path
def home(): raise RuntimeError("Could not determine home directory.")
pathlib.Path.home = home
"""
    before = set(tmp_path.rglob("*"))
    assert distribute(package, homeless) == (ADDED, False)
    assert set(tmp_path.rglob("*")) == before
    named = {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    assert [distribute(package, homeless, **named) for _ in range(2)] == [(ADDED, False), (ADDED, True)]


def test_code_of_no_file_is_compiled_without_a_cache() -> None:
    namespace: dict[str, Any] = {}
    exec("def double(x):\n    return x + x", namespace)
    assert compiled()(namespace["double"])(np.float32(2.0)) == 4.0
