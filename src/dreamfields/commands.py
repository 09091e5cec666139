"""What the commands do, once their arguments have been checked; this is where torch gets loaded."""

import json
from dataclasses import replace
from typing import assert_never

import torch
from rich.console import Console
from rich.table import Table

from dreamfields import api, cli, doctor
from dreamfields.evaluate.judge import Judgement
from dreamfields.evaluate.report import judgement_json
from dreamfields.export.film import camera_at
from dreamfields.export.passes import Shot
from dreamfields.export.paths import Keyframe
from dreamfields.guidance.spec import label
from dreamfields.progress import StepProgress
from dreamfields.render.framing import frame
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
        case cli.Video():
            video(command, console)
        case cli.Export():
            export(command, console)
        case cli.Evaluate():
            evaluate(command, console)
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
    say_notes(run_, console)
    return 0


def render(command: "cli.Render", console: Console) -> None:
    """Write one picture."""
    run_ = api.load(command.run)
    place = Keyframe(command.azimuth_deg, command.elevation_deg, zoom=command.zoom)
    camera = camera_at(place, frame(run_.shaped.field))
    shot = Shot(command.size, show=command.show, transparent=command.transparent)
    path = run_.picture(command.out or run_.path / "render.png", camera, shot)
    console.print(f"wrote {path}", soft_wrap=True)


def video(command: "cli.Video", console: Console) -> None:
    """Write a video, and say where it is not what was asked for."""
    run_ = api.load(command.run)
    shot = Shot(command.size, run_.config.export.still_samples, command.show)
    path = run_.film(command.out or run_.path / "video.mp4", cli.camera_path(command), shot, command.fps)
    console.print(f"wrote {path}", soft_wrap=True)
    say_notes(run_, console)


def export(command: "cli.Export", console: Console) -> None:
    """Write a mesh, and say what it lacks."""
    run_ = api.load(command.run)
    settings = replace(run_.config.export, **cli.changed(command))
    path = run_.export(command.out or run_.path / "object.glb", run_.model(settings, command.size_mm))
    console.print(f"wrote {path}", soft_wrap=True)
    say_notes(run_, console)


def say_notes(run_: "api.Run", console: Console) -> None:
    """Print what files of a run are not as they were asked for."""
    for note in run_.export_notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def evaluate(command: "cli.Evaluate", console: Console) -> None:
    """Judge a run, print the table and keep it beside the run."""
    run_ = api.load(command.run)
    judgement = run_.evaluate(list(command.classes) or None)
    path = run_.path / "evaluation.json"
    atomic_write(path, json.dumps(judgement_json(judgement), indent=2).encode())
    console.print(judgement_table(judgement))
    console.print(f"wrote {path}", soft_wrap=True)


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
