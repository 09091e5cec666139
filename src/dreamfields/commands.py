"""What the commands do, once their arguments have been checked; this is where torch gets loaded."""

import json
from typing import assert_never

import torch
from rich.console import Console
from rich.table import Table

from dreamfields import api, cli, doctor
from dreamfields.devices import resolve_device
from dreamfields.evaluate.judge import Judgement
from dreamfields.evaluate.judges import load_judge
from dreamfields.evaluate.report import judgement_json
from dreamfields.evaluate.retrieval import Retrieval, check_judge, judge_objects
from dreamfields.evaluate.retrieval_report import WITHIN, retrieval_json, retrieval_page, words
from dreamfields.export.pictures import png_bytes, to_image
from dreamfields.guidance.spec import label
from dreamfields.progress import StepProgress
from dreamfields.scene.cameras import Camera
from dreamfields.signals import StopRequest
from dreamfields.storage import atomic_write


def run(command: "cli.HeavyCommand", console: Console) -> int:
    """Carry out one command and return the exit code."""
    match command:
        case cli.Generate():
            return work(api.start(cli.configuration(command), command.out), console)
        case cli.Resume():
            return work(api.load(command.run), console)
        case cli.Render():
            render(command, console)
        case cli.Export():
            run_ = api.load(command.run)
            console.print(f"wrote {run_.export(command.out or run_.path / 'object.glb')}", soft_wrap=True)
        case cli.Evaluate():
            evaluate(command, console)
        case cli.Retrieval():
            retrieve(command, console)
        case cli.Doctor():
            return doctor.examine(console)
        case _:
            assert_never(command)
    return 0


def work(run_: "api.Run", console: Console) -> int:
    """Run the steps that are left, write the files, and return the exit code: 0, or 128 + signal when asked to stop."""
    if run_.status == "finished":
        console.print(f"{run_.path} is finished already; there is nothing left to do", soft_wrap=True)
        return 0
    recipe = run_.config.recipe
    console.print(f'"{run_.config.prompt}", seed {run_.config.seed}, into {run_.path}', soft_wrap=True, markup=False)
    with StopRequest() as stop:
        heading = f"{label(recipe.guidance.name)} guidance on {run_.state.device}, {torch.get_num_threads()} threads"
        with StepProgress(console, recipe.optimize.steps, heading) as progress:
            steps = run_.steps()
            for count, step in enumerate(steps):
                for note in run_.notes if count == 0 else []:
                    console.print(f"note: {note}", soft_wrap=True, markup=False)
                progress.show(step)
                if stop.number is not None:
                    steps.close()
                    break
        if stop.number is not None:
            console.print(f"stopped and saved; go on with: dreamfields resume {run_.path}", soft_wrap=True)
            return 128 + stop.number
    console.print("writing pictures, video and mesh ...")
    for path in run_.finish():
        console.print(f"  {path}", soft_wrap=True)
    return 0


def render(command: "cli.Render", console: Console) -> None:
    """Write one picture."""
    run_ = api.load(command.run)
    rendering = run_.render(Camera(command.azimuth_deg, command.elevation_deg), command.size)
    picture = to_image(rendering.over(1.0)[0])
    if command.transparent:
        opacity = rendering.opacity[0]
        colour = to_image((rendering.colour[0] / opacity.clamp(min=1e-6)).clamp(0.0, 1.0))
        colour.putalpha(to_image(opacity.expand(3, -1, -1)).convert("L"))
        picture = colour
    path = command.out or run_.path / "render.png"
    atomic_write(path, png_bytes(picture, run_.metadata()))
    console.print(f"wrote {path}", soft_wrap=True)


def evaluate(command: "cli.Evaluate", console: Console) -> None:
    """Judge a run, print the table and keep it beside the run."""
    run_ = api.load(command.run)
    judgement = run_.evaluate(list(command.classes) or None)
    path = run_.path / "evaluation.json"
    atomic_write(path, json.dumps(judgement_json(judgement), indent=2).encode())
    console.print(judgement_table(judgement))
    console.print(f"wrote {path}", soft_wrap=True)


def retrieve(command: "cli.Retrieval", console: Console) -> None:
    """Let a judge find the captions of runs, print the shares and keep them with the pictures."""
    judge = load_judge(command.judge, resolve_device("auto"))
    candidates = []
    for folder in cli.run_folders(command.runs):
        run_ = api.load(folder)
        guides, weights = run_.record.get("guidance", []), run_.record.get("weights", [])
        check_judge(judge, guides, weights, str(folder))
        candidates.append(run_.candidate())
    found = judge_objects(judge, candidates, command.samples)
    page, figures = command.out / "retrieval.html", command.out / "retrieval.json"
    atomic_write(figures, json.dumps(retrieval_json(found), indent=2).encode())
    atomic_write(page, retrieval_page(found).encode())
    console.print(retrieval_table(found))
    for path in (figures, page):
        console.print(f"wrote {path}", soft_wrap=True)


def retrieval_table(found: Retrieval) -> Table:
    """Return what retrieval found as a table."""
    caption = f"{len(found.objects)} objects, {found.captions} captions; shares with their standard errors"
    table = Table(title=f"retrieval by {found.judge}", caption=caption)
    for heading in ("", *(f"R@{within}" for within in WITHIN)):
        table.add_column(heading)
    for kind in ("colour", "geometry"):
        table.add_row(kind, *(words(found.share(within, kind == "geometry")) for within in WITHIN))
    table.add_row("chance", *(f"{found.chance(within):.1%}" for within in WITHIN))
    return table


def judgement_table(judgement: Judgement) -> Table:
    """Return a judgement as a table, one row a view."""
    right = ", ".join(judgement.classes)
    table = Table(title=f"{judgement.judge} looks for: {right}", caption=_summary(judgement))
    for heading in ("azimuth", "answer", "probability", "top 1", "top 5"):
        table.add_column(heading)
    for view in judgement.views:
        marks = ["yes" if mark else "no" for mark in (view.top1, view.top5)]
        table.add_row(f"{view.azimuth_deg:.0f}", view.answer, f"{view.probability:.2f}", *marks)
    return table


def _summary(judgement: Judgement) -> str:
    of = f"of {len(judgement.views)}"
    mean = f"mean probability {judgement.probability:.2f}"
    return f"top 1 in {judgement.top1} {of}, top 5 in {judgement.top5} {of}, {mean}"
