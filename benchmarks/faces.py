"""Twenty-four things with a front: does an object show it once, or all around?

python benchmarks/faces.py [--preset quick] [--seed 0] [--jobs 1] [--prompts "a cat" ...] [--extra="..."]

The judge, EfficientNet-Lite1 and its adapters, which never guide, sees eight held-out views. Severity: how alike views
are in the eyes of its tower, opposite views counting most, 1 if all are the same (see `evaluate.faces`). Fronts: views
of which it says "front view" rather than "side view" or "back view"; an object with more than three has many faces.
Told: of the views straight from front, sides and back, those of which it says so; one face all around gets 2 at most.
Look at the picture, too, and count. Writes a table and a picture into --out; see `runs` for how objects are made and
kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

import tyro

from dreamfields.devices import resolve_device
from dreamfields.evaluate.classifier import Judge, held_out_cameras, held_out_renderings, similarities
from dreamfields.evaluate.faces import MODELS_SEVERITY, SQUARE_ON, Faces, fronts, severity, told
from dreamfields.evaluate.judges import load_judge
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.prompts import side_sentences

import runs

PROMPTS: Mapping[str, tuple[str, ...]] = {
    "animals": ("a cat", "a dog", "a horse", "an elephant", "a lion", "a rabbit"),
    "characters": ("a robot", "a knight", "a teddy bear", "a snowman", "an astronaut", "a skeleton"),
    "vehicles": ("a sports car", "a school bus", "a motorcycle", "a fire truck", "an airplane", "a tractor"),
    "furniture": ("an armchair", "a sofa", "a wooden chair", "a bed", "a piano", "a wardrobe"),
}
"""All prompts by what they are of."""
ALL = tuple(prompt for prompts in PROMPTS.values() for prompt in prompts)


@dataclass(frozen=True)
class Arguments:
    """What to make."""

    plan: Annotated[runs.Plan, tyro.conf.arg(name="")] = field(
        default_factory=lambda: runs.Plan(runs=Path("runs/faces"))
    )
    prompts: tuple[str, ...] = ()
    """All if none is given."""


@dataclass(frozen=True)
class Row:
    """One prompt's outcome."""

    prompt: str
    faces: Faces
    outcome: runs.Outcome


def main() -> None:
    """Make all prompts, judge them, write table and sheet."""
    arguments = tyro.cli(Arguments, description=__doc__)
    prompts = runs.chosen(arguments.prompts, ALL, "prompt")
    paths = runs.make_all(prompts, arguments.plan)
    device = resolve_device("auto")
    reader, watcher = load_judge("lit", device, "adapters"), Judge(device)
    rows = [judged(prompt, path, reader, watcher) for prompt, path in zip(prompts, paths, strict=True)]
    entries = [(row.outcome.path, f"{row.prompt}\n{row.faces.fronts} of 8 fronts") for row in rows]
    runs.write("faces", arguments.plan, table(rows, arguments.plan), entries)


def judged(prompt: str, path: Path, reader: AbstractGuidance, watcher: Judge) -> Row:
    """Look at a run from all sides: one judge reads sentences, the other's tower compares views."""
    run = runs.opened(path, reader, watcher)
    views = held_out_renderings(run.trained_state().field, reader.image_size)
    azimuths = [camera.azimuth_deg for camera in held_out_cameras()]
    alike = severity(watcher.centred_features(views), azimuths)
    nearest = similarities(reader, views, side_sentences(prompt))
    faces = Faces(alike, fronts(nearest), told(nearest, azimuths), len(views))
    return Row(prompt, faces, runs.outcome(run, views))


def table(rows: list[Row], plan: runs.Plan) -> list[str]:
    """Return the results as lines of Markdown."""
    faces = [row.faces for row in rows]
    many, sides = sum(one.many for one in faces), sum(one.told for one in faces)
    lines = [
        *runs.heading("Many faces", plan),
        "Judge: EfficientNet-Lite1 and its adapters, which never guide; elevation 45, 8 azimuths. Models with one "
        f"front have a median severity of {MODELS_SEVERITY}.",
        "",
        f"**{many} of {len(rows)}** have many faces by the judge, which tells {sides} of {SQUARE_ON * len(rows)} "
        f"sides; median severity {median(one.severity for one in faces):.3f}; "
        f"{runs.medians([row.outcome for row in rows])}.",
        "",
    ]
    headings = ("prompt", "severity", "fronts of 8", f"sides told of {SQUARE_ON}", *runs.COLUMNS)
    cells = [
        (row.prompt, f"{row.faces.severity:.3f}", row.faces.fronts, row.faces.told, *runs.cells(row.outcome))
        for row in rows
    ]
    return lines + runs.markdown(headings, cells)


if __name__ == "__main__":
    main()
