"""`dreamfields doctor`: what this machine has, what is missing, and what to do about it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from dreamfields import __version__
from dreamfields.cli import models
from dreamfields.cli.command import Command
from dreamfields.cli.terminal import say_table
from dreamfields.devices import resolve_device, thread_count
from dreamfields.errors import MissingPackageError
from dreamfields.guidance.lit.weights import (
    GUIDING_ADAPTERS,
    GUIDING_TOWERS,
    JUDGE_ADAPTERS,
    JUDGE_TOWER,
    MINILM,
    package_file,
)

_NEEDED_DISK: Final = 200_000_000  # Bytes a run of the default preset may take, with room to spare


@dataclass(frozen=True)
class Doctor(Command):
    """Tell what this machine has and what is missing."""

    def run(self, console: Console) -> int:
        """Print what was found and return the exit code: 0, or 3 if something a default run needs is missing."""
        free = shutil.disk_usage(Path.cwd()).free
        space = Finding("free space here", f"{free / 1e9:.1f} GB", free > _NEEDED_DISK)
        findings = [*machine(), *weights(), clip_models(), video(), space]
        rows = [(one.subject, one.verdict, "yes" if one.well else "NO") for one in findings]
        say_table(console, "dreamfields doctor", ("what", "found", "well"), rows)
        return 0 if all(one.well for one in findings) else MissingPackageError.exit_code


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    subject: str
    verdict: str
    well: bool


def machine() -> list[Finding]:
    """Return versions, device and threads."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "numpy"))
    numba = importlib.util.find_spec("numba") is not None
    return [
        Finding("version", f"dreamfields {__version__}, Python {platform.python_version()}, {versions}", True),
        Finding("device", f"{resolve_device('auto')}, {thread_count(0)} threads of {os.cpu_count()} cores", True),
        Finding("fast CPU rendering", "numba" if numba else "missing, slower without; run: pip install numba", numba),
    ]


def weights() -> list[Finding]:
    """Return which weights are installed, the adapters among them, which closed-form guidance does without."""
    packages = [*(tower.weights for tower in (*GUIDING_TOWERS, JUDGE_TOWER)), MINILM]
    places: dict[str, Callable[[], Path]] = {one.package: partial(package_file, one) for one in packages}
    places |= {one.file: one.path for one in (*GUIDING_ADAPTERS, JUDGE_ADAPTERS)}
    found = []
    for name, place in places.items():
        try:
            found.append(Finding(name, f"{place().stat().st_size / 1e6:.1f} MB", True))
        except MissingPackageError as error:
            found.append(Finding(name, str(error), False))
    return found


def clip_models() -> Finding:
    """Return which CLIP models are here; a default run needs none, so all is well without."""
    found = models.present()
    return Finding("clip models", ", ".join(found) or "none; get one with: dreamfields models download ID", True)


def video() -> Finding:
    """Return which program encodes MP4."""
    from dreamfields.export.pictures.video import encoders

    programs = encoders()
    found = programs[0] if programs else "no ffmpeg, videos become GIFs; run: pip install imageio-ffmpeg"
    return Finding("video", found, bool(programs))
