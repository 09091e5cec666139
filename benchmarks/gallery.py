"""Twelve objects for docs/gallery: `python benchmarks/gallery.py [--jobs 1] [--extra="..."] [--out docs/gallery]`.

Each is a run of the real command with the released defaults, made unless it is there (the benchmark of nouns makes the
same runs), and drawn from its GLB as another library reads it: what is shown is what a user gets.
"""

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import export
import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

import dreamfields
from dreamfields import presets
from dreamfields.scene.cameras import Camera
from dreamfields.storage import atomic_write

import runs

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

    plan: Annotated[runs.Plan, tyro.conf.arg(name="")] = field(
        default_factory=lambda: runs.Plan(runs=Path("runs/nouns"), out=Path("docs/gallery"))
    )


def main() -> None:
    """Make what is not there, draw all and write the page."""
    plan = tyro.cli(Arguments, description=__doc__).plan
    paths = runs.make_all([runs.with_article(noun) for noun in SHOWN], plan)
    entries = [entry(path, plan) for path in paths]
    page = "\n".join([*head(plan), *entries, ""])
    atomic_write(plan.out / "README.md", page.encode())


def head(plan: runs.Plan) -> list[str]:
    """Return the first lines of the page."""
    defaults = "the defaults" if plan.preset == runs.Plan.preset else f"preset `{plan.preset}`"
    extra = f" with `{runs.shown(plan.extra)}`" if plan.extra else ""
    return [
        "# Gallery",
        "",
        f"Twelve objects made by {defaults}{extra} at seed {plan.seed}, drawn from their GLB files from azimuth 30",
        "and 150. Twelve of the twenty of [the benchmark](../../benchmarks/results/nouns_quick_seed0.md), which shows",
        "the others, too, and what a judge says. Seconds are those of one core of a server CPU that was also busy;",
        "its tables tell what two cores take."
        + (" The files of full size are not in them; they take some ten seconds." if plan.light else ""),
        f"Made again by `python benchmarks/gallery.py{' --light' if plan.light else ''}`.",
        "",
    ]


def entry(path: Path, plan: runs.Plan) -> str:
    """Draw a run's GLB and return its part of the page."""
    run = dreamfields.load(path)
    # The mesh as this version makes it, of the field as the run left it; at full size, also of runs with small files.
    mesh = run.export(path / "object.glb", run.asset(presets.preset(plan.preset).export if plan.light else None))
    atomic_write(plan.out / f"{path.name}.webp", drawn(mesh))
    cost, threads = json.loads((path / "cost.json").read_text()), run.record.cpu_threads
    summary, prompt = run.record.mesh, run.config.prompt
    preset = [] if plan.preset == runs.Plan.preset else ["--preset", plan.preset]
    words = shlex.join([*preset, "--seed", str(run.config.seed), *shlex.split(runs.shown(plan.extra))])
    return (
        f"## {prompt}\n\n![{prompt}]({path.name}.webp)\n\n"
        f'`dreamfields generate "{prompt}" {words}`: {cost["seconds"]:.0f} s on '
        f"{threads} {'thread' if threads == 1 else 'threads'}, {summary['faces']:,} faces.\n"
    )


def drawn(mesh: Path) -> bytes:
    """Return a GLB's views side by side as WebP."""
    shape = export.read(mesh)
    views: list[NDArray[np.float64]] = [export.draw(shape, camera)[0] for camera in VIEWS]
    return runs.webp(Image.fromarray((np.concatenate(views, axis=1) * 255.0).astype(np.uint8)))


if __name__ == "__main__":
    main()
