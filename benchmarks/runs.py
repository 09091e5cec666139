"""What benchmarks of prompts share: runs of the real command, what they cost, how clean they are, and one picture.

Each prompt is a run in a process of its own, so its seconds and its peak memory are what a user pays. With more jobs
than one the seconds are not comparable, and the tables say so. Finished runs are kept and not made again, so an
interrupted benchmark goes on where it stopped; a run that was made by other settings than are asked for is refused.
An object that came to nothing is a result like any other: it is judged, and tables mark it as empty.
"""

import hashlib
import io
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import torch
from PIL import Image, ImageDraw
from rich.console import Console

import dreamfields
from dreamfields.cli import main as cli
from dreamfields.cli.generate import Generate
from dreamfields.devices import thread_count
from dreamfields.errors import DegenerateError, UsageError
from dreamfields.evaluate.cleanness import Cleanness, cleanness
from dreamfields.evaluate.judges import check_judge
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.prompts import clean_prompt
from dreamfields.render.renderer import Rendering
from dreamfields.runs.directory import RunDirectory, run_path
from dreamfields.runs.record import read_record
from dreamfields.settings import unknown_name
from dreamfields.storage import atomic_write

LONGEST_SUFFIX = 60
"""Letters of further arguments in the name of a result."""
LINE = 14
"""Pixels of a line of text on a sheet."""
WEBP_SIDE = 16383
"""The most pixels a side of a WebP."""
LIGHT = (
    "--export.lapse-frames 0 --export.video-frames 2 --export.video-size 48 --export.mesh-cells 48 "
    "--export.texture-size 128 --export.max-faces 2000"
)
"""Small exports: the object and its contact sheet are the same, at five sixths of the time."""


@dataclass(frozen=True)
class Plan:
    """How runs are made and where everything is left."""

    preset: str = "quick"
    seed: int = 0
    jobs: int = 1
    """Objects made at the same time; the cores are shared out."""
    runs: Path = Path("runs")
    """Folder of the runs."""
    out: Path = Path("benchmarks/results")
    """Folder of the results."""
    light: bool = False
    """Keep exports small; the seconds are then not those of a whole run."""
    extra: str = ""
    """Further arguments for generate, as in a shell: --extra="--steps 300"."""


@dataclass(frozen=True)
class Outcome:
    """One run: what it cost, and how clean its object is."""

    path: Path
    seconds: float
    peak_gb: float
    resumed: bool
    """Whether the last of several processes made it, whose cost alone is known."""
    attempts: int
    empty: bool
    """Whether the object came to nothing: it has pictures, but no surface."""
    clean: Cleanness


COLUMNS = ("fog", "outside", "seconds", "peak GB", "attempts")
"""Headings of what every table says of an outcome."""


def threads(plan: Plan) -> int:
    """Return how many threads each run has."""
    return max(1, thread_count(0) // plan.jobs)


def chosen(asked: Sequence[str], known: Iterable[str], what: str) -> list[str]:
    """Return the known names that are asked for, all if none is; an unknown one ends the benchmark."""
    names = list(known)
    for name in asked:
        if name not in names:
            raise SystemExit(unknown_name(name, names, what))
    return [name for name in names if name in asked] if asked else names


def with_article(noun: str) -> str:
    """Return a noun as a prompt."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def make_all(prompts: Sequence[str], plan: Plan) -> list[Path]:
    """Make all prompts that are not there, several at a time, and return their folders in order."""
    refuse_others(prompts, plan)
    with ThreadPoolExecutor(plan.jobs) as pool:
        return list(pool.map(lambda prompt: make(prompt, plan), prompts))


def folder(prompt: str, plan: Plan) -> Path:
    """Return where a prompt's run is, or will be."""
    return run_path(plan.runs, clean_prompt(prompt), plan.seed)


def make(prompt: str, plan: Plan) -> Path:
    """Run the command for one prompt, unless its run is there already, and keep its cost beside it."""
    path = folder(prompt, plan)
    if (path / "cost.json").exists():
        return path
    resumed = (path / "run.json").exists()
    words = ["resume", str(path)] if resumed else command(prompt, plan)
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "dreamfields", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # As its own `wait` would, which does not tell its memory.
    empty = process.returncode == DegenerateError.exit_code and (path / "contact_sheet.png").exists()
    if process.returncode != 0 and not empty:
        raise SystemExit(f"{words[0]} ended with status {process.returncode} for {prompt!r}")
    seconds, peak_gb = time.perf_counter() - began, usage.ru_maxrss / 1e6
    cost = {"seconds": seconds, "peak_gb": peak_gb, "resumed": resumed, "empty": empty}
    atomic_write(path / "cost.json", json.dumps(cost).encode())
    sys.stderr.write(f"{prompt}: {cost['seconds']:.0f} s\n")
    return path


def command(prompt: str, plan: Plan) -> list[str]:
    """Return the words of the command line that makes a prompt."""
    options = ["--preset", plan.preset, "--seed", str(plan.seed), "--threads", str(threads(plan))]
    light = shlex.split(LIGHT) if plan.light else []
    return ["generate", prompt, "--out", str(plan.runs), *options, *light, *shlex.split(plan.extra)]


def refuse_others(prompts: Sequence[str], plan: Plan) -> None:
    """End the benchmark if its command line cannot be used, or if a run that is there was made by other settings."""
    try:
        asked = cli.parse(command(prompts[0], plan), Console())
        assert isinstance(asked, Generate)
        config = asked.configuration
        if (asked.preset, asked.seed, asked.out) != (plan.preset, plan.seed, plan.runs):
            raise SystemExit("preset, seed and folder are the benchmark's own options; take them out of --extra")
        for prompt in prompts:
            directory = RunDirectory(folder(prompt, plan))
            if not directory.exists():
                continue
            made = read_record(directory).config
            if (made.prompts, made.recipe) != (config.prompts, config.recipe):
                raise SystemExit(f"{directory.path} was made by other settings; name another folder with --runs")
    except UsageError as error:
        raise SystemExit(str(error)) from None


def opened(path: Path, *judges: AbstractGuidance | dreamfields.Judge) -> dreamfields.Run:
    """Return a finished run that none of the judges guided, and let all cores look at it.

    Raises:
        UsageError: a judge guided it.
    """
    run = dreamfields.load(path)
    for judge in judges:
        check_judge(judge, run.record.guidance, run.record.weights, str(path))
    run.trained_state()  # Sets the run's number of threads.
    torch.set_num_threads(thread_count(0))
    return run


def outcome(run: dreamfields.Run, views: Sequence[Rendering]) -> Outcome:
    """Return what a run cost and how clean its object is, given the views that are judged."""
    cost = json.loads((run.path / "cost.json").read_text())
    return Outcome(
        run.path,
        cost["seconds"],
        cost["peak_gb"],
        cost.get("resumed", False),
        run.record.attempts,
        cost.get("empty", False),
        cleanness(run.trained_state().field, views),
    )


def cells(one: Outcome) -> tuple[str, ...]:
    """Return the cells below `COLUMNS`."""
    seconds = f"{one.seconds:.0f}{'+' if one.resumed else ''}"
    attempts = f"{one.attempts}{', empty' if one.empty else ''}"
    return (f"{one.clean.fog:.3f}", f"{one.clean.outside:.3f}", seconds, f"{one.peak_gb:.2f}", attempts)


def medians(outcomes: Sequence[Outcome]) -> str:
    """Return the medians of fog, of what is outside and of the seconds, in words."""
    fog = median(one.clean.fog for one in outcomes)
    outside = median(one.clean.outside for one in outcomes)
    seconds = median(one.seconds for one in outcomes)
    return f"median fog {fog:.3f}, median outside {outside:.3f}, median {seconds:.0f} s"


def heading(title: str, plan: Plan) -> list[str]:
    """Return the first lines of a result: what was made, when, where, and what the columns of outcomes mean."""
    extra = f" with `{shown(plan.extra)}`" if plan.extra else ""
    each = threads(plan)
    return [
        f"# {title}: preset `{plan.preset}`, seed {plan.seed}{extra}",
        "",
        f"{date.today()}, {platform.machine()}, {plan.jobs} at a time, {each} {'thread' if each == 1 else 'threads'} "
        f"each, {'small exports, ' if plan.light else ''}torch {torch.__version__}, dreamfields "
        f"{dreamfields.__version__}. Fog: mean of 4 o (1 - o) over the "
        "pixels of opacity o > 0.05 in the judged views. Outside: share of the density outside the largest piece. Of "
        "seconds with a +, the run was stopped once and those before are not counted.",
        "",
    ]


def markdown(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]


def write(name: str, plan: Plan, lines: Sequence[str], entries: Sequence[tuple[Path, str]], columns: int = 4) -> None:
    """Write a result and the sheet of its runs, and say it."""
    stem = f"{name}_{plan.preset}_seed{plan.seed}{_suffix(plan.extra)}"
    text = "\n".join([*lines, ""])
    atomic_write(plan.out / f"{stem}.md", text.encode())
    atomic_write(plan.out / f"{stem}.webp", webp(sheet(entries, columns)))
    sys.stdout.write(text)


def _suffix(extra: str) -> str:
    """Return what tells results with further arguments from others, for a file's name."""
    words = re.sub(r"[^a-z0-9.]+", "-", shown(extra).lower()).strip("-")
    if len(words) > LONGEST_SUFFIX:
        words = f"{words[:LONGEST_SUFFIX]}-{hashlib.sha256(extra.encode()).hexdigest()[:8]}"
    return f"_{words}" if words else ""


def shown(extra: str) -> str:
    """Return arguments as results say them: of a path its last part alone, for the rest is nobody's business."""
    return re.sub(r"[^\s=:+]*/", "", extra)


def sheet(entries: Sequence[tuple[Path, str]], columns: int = 4) -> Image.Image:
    """Return one picture of runs: the front and the view from 135 degrees of each, below its lines of text.

    Of very many there are more columns than asked for, so that the picture is about as high as wide.
    """
    columns = max(columns, math.isqrt(len(entries) // 2))
    pictures = [views(path, (0, 3)) for path, _ in entries]
    side = pictures[0][0].width
    head = LINE * max(text.count("\n") + 1 for _, text in entries) + 2
    grid = Image.new("RGB", (columns * 2 * side, -(-len(entries) // columns) * (side + head)), "white")
    draw = ImageDraw.Draw(grid)
    for index, ((_, text), sides) in enumerate(zip(entries, pictures, strict=True)):
        x, y = index % columns * 2 * side, index // columns * (side + head)
        for line, words in enumerate(text.split("\n")):
            draw.text((x + 4, y + 2 + LINE * line), _fitting(draw, words, 2 * side - 8), fill="black")
        for column, picture in enumerate(sides):
            grid.paste(picture, (x + column * side, y + head))
    return grid


def views(path: Path, indices: Sequence[int]) -> list[Image.Image]:
    """Return some of the eight views in the contact sheet of a run, which are 45 degrees apart."""
    picture = Image.open(path / "contact_sheet.png").convert("RGB")
    side = picture.width // 4
    corners = [(index % 4 * side, index // 4 * side) for index in indices]
    return [picture.crop((x, y, x + side, y + side)) for x, y in corners]


def _fitting(draw: ImageDraw.ImageDraw, words: str, width: int) -> str:
    """Return words cut short to a width in pixels."""
    if draw.textlength(words) <= width:
        return words
    while words and draw.textlength(f"{words} ...") > width:
        words = words[:-1]
    return f"{words} ..."


def webp(image: Image.Image, *, lossless: bool = False) -> bytes:
    """Return a picture as a WebP file, a tenth of a PNG's size; one that is larger than WebP can be is made to fit."""
    fitting = image.convert("RGB")
    fitting.thumbnail((WEBP_SIDE, WEBP_SIDE))
    stream = io.BytesIO()
    fitting.save(stream, "WEBP", quality=85, method=6, lossless=lossless)
    return stream.getvalue()
