"""What the commands do, once their arguments have been checked; this is where torch gets loaded."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import assert_never

import torch
from rich.console import Console
from rich.table import Table

from dreamfields import api
from dreamfields.cli import doctor, verbs
from dreamfields.cli import main as cli
from dreamfields.cli.progress import StepProgress
from dreamfields.cli.signals import StopRequest
from dreamfields.cli.terminal import one_line
from dreamfields.devices import resolve_device
from dreamfields.evaluate.classifier import Judgement
from dreamfields.evaluate.judges import check_judge, load_judge
from dreamfields.evaluate.report import WITHIN, judgement_json, retrieval_json, retrieval_page, words
from dreamfields.evaluate.retrieval import Retrieval, judge_objects
from dreamfields.export.pictures.film import camera_at
from dreamfields.export.pictures.passes import Shot
from dreamfields.export.pictures.paths import Keyframe
from dreamfields.guidance.clip.folders import file_sha256
from dreamfields.guidance.ensemble import label
from dreamfields.render.framing import frame
from dreamfields.runs.directory import RunDirectory
from dreamfields.storage import atomic_write, user_cache
from dreamfields.train import commands as tuning_commands
from dreamfields.train.commands import Places


def run(command: "verbs.HeavyCommand", directory: RunDirectory, console: Console) -> int:
    """Carry out one command in the folder that `cli.preflight` found for it, and return the exit code."""
    match command:
        case verbs.Generate():
            return work(api.begin(cli.configuration(command), directory), console)
        case verbs.Resume():
            return work(api.reopen(directory), console)
        case verbs.Render():
            render(command, console)
        case verbs.Video():
            video(command, console)
        case verbs.Export():
            export(command, console)
        case verbs.Evaluate():
            evaluate(command, console)
        case verbs.Lit():
            lit(command, console)
        case verbs.Retrieval():
            retrieve(command, console)
        case verbs.Doctor():
            return doctor.examine(console)
        case _:
            assert_never(command)
    return 0


def work(run_: "api.Run", console: Console) -> int:
    """Run the steps that are left, write the files, and return the exit code: 0, or 128 + signal when asked to stop."""
    if run_.status == "finished":
        console.print(f"{run_.path} is finished already; there is nothing left to do", soft_wrap=True)
        return 0
    with StopRequest() as stop:
        try:
            # Until a step is under way, and once all are saved, there is nothing to wait for.
            stop.immediate = True
            show_steps(run_, stop, console)
            stop.immediate = True
            if stop.number is None:
                console.print("writing pictures, video and mesh ...")
                for path in run_.finish():
                    console.print(f"  {path}", soft_wrap=True)
                say_notes(run_, console)
                return 0
        except KeyboardInterrupt:
            if stop.number is None:
                raise
        console.print(f"stopped and saved; go on with: dreamfields resume {run_.path}", soft_wrap=True)
        return 128 + stop.number


def show_steps(run_: "api.Run", stop: StopRequest, console: Console) -> None:
    """Run the steps that are left, showing them, until they are done or a stop is asked for."""
    recipe = run_.config.recipe
    console.print(
        one_line(f'"{run_.config.prompt}", seed {run_.config.seed}, into {run_.path}'), soft_wrap=True, markup=False
    )
    heading = f"{label(recipe.guidance.name)} guidance on {run_.state.device}, {torch.get_num_threads()} threads"
    said = 0
    with StepProgress(console, recipe.optimize.steps, heading) as progress, closing(run_.steps()) as steps:
        for step in steps:
            stop.immediate = False
            for note in run_.notes[said:]:
                console.print(one_line(f"note: {note}"), soft_wrap=True, markup=False)
            said = len(run_.notes)
            progress.show(step)
            if stop.number is not None:
                break


def opened(path: Path, console: Console) -> "api.Run":
    """Return the run of a folder with its state read, and say what was wrong with that, such as a damaged file."""
    run_ = api.load(path)
    known = len(run_.notes)
    _ = run_.state  # To read it is to find what is wrong with it.
    for note in run_.notes[known:]:
        console.print(one_line(f"note: {note}"), soft_wrap=True, markup=False)
    return run_


def render(command: "verbs.Render", console: Console) -> None:
    """Write one picture."""
    run_ = opened(command.run, console)
    place = Keyframe(command.azimuth_deg, command.elevation_deg, zoom=command.zoom)
    camera = camera_at(place, frame(run_.trained_state.field))
    shot = Shot(command.size, show=command.show, transparent=command.transparent)
    path = run_.picture(command.out or run_.path / "render.png", camera, shot)
    console.print(f"wrote {path}", soft_wrap=True)


def video(command: "verbs.Video", console: Console) -> None:
    """Write a video, and say where it is not what was asked for."""
    run_ = opened(command.run, console)
    shot = Shot(command.size, run_.config.export.still_samples, command.show)
    path = run_.film(command.out or run_.path / "video.mp4", cli.camera_path(command), shot, command.fps)
    console.print(f"wrote {path}", soft_wrap=True)
    say_notes(run_, console)


def export(command: "verbs.Export", console: Console) -> None:
    """Write a mesh, and say what it lacks."""
    run_ = opened(command.run, console)
    settings = replace(run_.config.export, **cli.changed(command))
    path = run_.export(command.out or run_.path / "object.glb", run_.asset(settings, command.size_mm))
    console.print(f"wrote {path}", soft_wrap=True)
    say_notes(run_, console)


def say_notes(run_: "api.Run", console: Console) -> None:
    """Print what files of a run are not as they were asked for."""
    for note in run_.export_notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def evaluate(command: "verbs.Evaluate", console: Console) -> None:
    """Judge a run, print the table and keep it beside the run."""
    run_ = opened(command.run, console)
    judgement = run_.evaluate(list(command.classes) or None)
    path = run_.path / "evaluation.json"
    atomic_write(path, json.dumps(judgement_json(judgement), indent=2).encode())
    console.print(judgement_table(judgement))
    console.print(f"wrote {path}", soft_wrap=True)


def lit(command: "verbs.Lit", console: Console) -> None:
    """Train adapters, or measure some."""
    places = Places(command.data, command.cache or user_cache() / "lit", command.descriptions)
    if command.action == "evaluate":
        tuning_commands.measure(places, command.adapters, command.count, console)
        return
    assert command.out is not None  # The preflight has made sure.
    tuning_commands.fit_and_write(places, command.settings, command.out, console)
    console.print(f"wrote {command.out}, sha256 {file_sha256(command.out)}", soft_wrap=True)


def retrieve(command: "verbs.Retrieval", console: Console) -> None:
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
    for kind in ("colour", "textureless"):
        table.add_row(kind, *(words(found.fraction(within, kind == "textureless")) for within in WITHIN))
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
