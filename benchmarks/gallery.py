"""Twelve objects for docs/gallery: `python benchmarks/gallery.py [--jobs 1] [--runs runs/nouns] [--out docs/gallery]`.

Each is a run of the real command with the released defaults, made unless it is there (the benchmark of nouns makes the
same runs), and drawn from its GLB as another library reads it: what is shown is what a user gets.
"""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import export
import nouns
import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

import dreamfields
from dreamfields.scene.cameras import Camera
from dreamfields.storage import atomic_write

SHOWN = (
    "teapot",
    "banana",
    "cheeseburger",
    "sports car",
    "pineapple",
    "strawberry",
    "grand piano",
    "teddy bear",
    "lighthouse",
    "goldfish",
    "mushroom",
    "soccer ball",
)
VIEWS = (Camera(30.0, 20.0), Camera(150.0, 20.0))


@dataclass(frozen=True)
class Arguments:
    """What to show and where."""

    seed: int = 0
    jobs: int = 1
    """Objects made at the same time; the cores are shared out."""
    runs: Path = Path("runs/nouns")
    """Folder of the runs."""
    out: Path = Path("docs/gallery")


def main() -> None:
    """Make what is not there, draw all and write the page."""
    arguments = tyro.cli(Arguments, description=__doc__)
    asked = nouns.Arguments(seed=arguments.seed, jobs=arguments.jobs, nouns=SHOWN, runs=arguments.runs)
    threads = max(1, len(os.sched_getaffinity(0)) // arguments.jobs)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        paths = list(pool.map(lambda noun: nouns.make(noun, asked, threads), SHOWN))
    entries = [entry(path, arguments.out) for path in paths]
    page = "\n".join([*HEAD, *entries, ""])
    atomic_write(arguments.out / "README.md", page.encode())


HEAD = [
    "# Gallery",
    "",
    "Twelve objects made by the defaults at seed 0, drawn from their GLB files from azimuth 30 and 150. Twelve of the",
    "twenty of [the benchmark](../../benchmarks/results/nouns_quick_seed0.md), which shows the others, too, and what a",
    "judge says. Made again by `python benchmarks/gallery.py`.",
    "",
]


def entry(path: Path, out: Path) -> str:
    """Draw a run's GLB and return its part of the page."""
    run = dreamfields.load(path)
    # The mesh as this version makes it, of the field as the run left it.
    mesh = run.export(path / "object.glb")
    atomic_write(out / f"{path.name}.png", drawn(mesh))
    cost, threads = json.loads((path / "cost.json").read_text()), run.record["cpu_threads"]
    summary, prompt = run.record["mesh"], run.config.prompt
    return (
        f"## {prompt}\n\n![{prompt}]({path.name}.png)\n\n"
        f'`dreamfields generate "{prompt}" --seed {run.config.seed}`: {cost["seconds"]:.0f} s on '
        f"{threads} {'thread' if threads == 1 else 'threads'}, {summary['faces']:,} faces.\n"
    )


def drawn(mesh: Path) -> bytes:
    """Return a GLB's views side by side as PNG."""
    shape = export.read(mesh)
    views: list[NDArray[np.float64]] = [export.draw(shape, camera)[0] for camera in VIEWS]
    file = io.BytesIO()
    Image.fromarray((np.concatenate(views, axis=1) * 255.0).astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    main()
