"""Twenty nouns, made by a preset and judged by a model that never guides.

python benchmarks/nouns.py [--preset quick] [--seed 0] [--jobs 1] [--nouns teapot banana ...] [--out benchmarks/results]

Each noun is a run of the real command in a process of its own, so its seconds and its peak memory are what a user
pays. With more jobs than one the seconds are not comparable, and the table says so. Finished runs are kept in --runs
and not made again, so an interrupted benchmark goes on where it stopped. Writes a table and a picture into --out.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
import tyro
from PIL import Image, ImageDraw

import dreamfields
from dreamfields.storage import atomic_write

NOUNS: dict[str, tuple[str, ...]] = {
    "teapot": ("teapot",),
    "banana": ("banana",),
    "sports car": ("sports car", "convertible", "race car"),
    "cheeseburger": ("cheeseburger",),
    "pineapple": ("pineapple",),
    "strawberry": ("strawberry",),
    "acoustic guitar": ("acoustic guitar",),
    "grand piano": ("grand piano",),
    "rocking chair": ("rocking chair",),
    "mushroom": ("mushroom", "agaric", "bolete"),
    "goldfish": ("goldfish",),
    "tabby cat": ("tabby cat", "tiger cat", "Egyptian Mau"),
    "school bus": ("school bus",),
    "airliner": ("airliner",),
    "lighthouse": ("lighthouse",),
    "pizza": ("pizza",),
    "soccer ball": ("soccer ball",),
    "teddy bear": ("teddy bear",),
    "coffee mug": ("coffee mug", "tea cup"),
    "umbrella": ("umbrella",),
}
"""Every noun with the ImageNet classes that count as right."""


@dataclass(frozen=True)
class Arguments:
    """What to run and where to leave the results."""

    preset: str = "quick"
    seed: int = 0
    jobs: int = 1
    """Nouns made at the same time; the cores are shared out."""
    nouns: tuple[str, ...] = tuple(NOUNS)
    runs: Path = Path("runs/nouns")
    """Folder of the runs."""
    out: Path = Path("benchmarks/results")
    extra: str = ""
    """Further arguments for generate, as in a shell: --extra="--steps 300"."""


@dataclass(frozen=True)
class Row:
    """One noun's outcome."""

    noun: str
    judgement: dreamfields.Judgement
    seconds: float
    peak_gb: float
    attempts: int
    path: Path


def main() -> None:
    """Make all nouns, judge them, write table and sheet."""
    arguments = tyro.cli(Arguments, description=__doc__)
    threads = max(1, len(os.sched_getaffinity(0)) // arguments.jobs)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        paths = list(pool.map(lambda noun: make(noun, arguments, threads), arguments.nouns))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    judge = dreamfields.Judge(torch.device("cpu"))
    rows = [judged(noun, path, judge) for noun, path in zip(arguments.nouns, paths, strict=True)]
    name = f"nouns_{arguments.preset}_seed{arguments.seed}"
    atomic_write(arguments.out / f"{name}.md", table(rows, arguments, threads).encode())
    atomic_write(arguments.out / f"{name}.png", _png(sheet(rows)))
    sys.stdout.write(table(rows, arguments, threads))


def make(noun: str, arguments: Arguments, threads: int) -> Path:
    """Run the command for one noun, unless its run is there already, and keep its cost beside it."""
    article = "an" if noun[0] in "aeiou" else "a"
    prompt = f"{article} {noun}"
    path = arguments.runs / f"{prompt.replace(' ', '-')}-{arguments.seed}"
    if (path / "cost.json").exists():
        return path
    options = ["--preset", arguments.preset, "--seed", str(arguments.seed), "--threads", str(threads)]
    command = ["generate", prompt, "--out", str(arguments.runs), *options, *shlex.split(arguments.extra)]
    if (path / "run.json").exists():
        command = ["resume", str(path)]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "dreamfields", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"generate ended with status {status} for {prompt!r}")
    cost = {"seconds": time.perf_counter() - began, "peak_gb": usage.ru_maxrss / 1e6}
    atomic_write(path / "cost.json", json.dumps(cost).encode())
    sys.stderr.write(f"{noun}: {cost['seconds']:.0f} s\n")
    return path


def judged(noun: str, path: Path, judge: dreamfields.Judge) -> Row:
    """Judge one noun's run."""
    run = dreamfields.load(path)
    cost = json.loads((path / "cost.json").read_text())
    judgement = run.evaluate(list(NOUNS[noun]), judge)
    return Row(noun, judgement, cost["seconds"], cost["peak_gb"], int(run.record["attempts"]), path)


def table(rows: list[Row], arguments: Arguments, threads: int) -> str:
    """Return the results as Markdown, failures included."""
    passed = sum(row.judgement.top1 >= 4 for row in rows)
    seconds = sorted(row.seconds for row in rows)[len(rows) // 2]
    lines = [
        f"# Nouns: preset `{arguments.preset}`, seed {arguments.seed}",
        "",
        f"{date.today()}, {platform.machine()}, {arguments.jobs} at a time, {threads} threads each, "
        f"torch {torch.__version__}, dreamfields {dreamfields.__version__}. Judge: EfficientNet-Lite1, elevation 45, "
        "8 azimuths, mean over white, grey and black.",
        "",
        f"**{passed} of {len(rows)}** nouns are named right in at least 4 of 8 views; median {seconds:.0f} s.",
        "",
        "| noun | top-1 views of 8 | top-5 views | probability | answers | seconds | peak GB | attempts |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        answers = ", ".join(sorted({view.answer for view in row.judgement.views}))
        lines.append(
            f"| {row.noun} | {row.judgement.top1} | {row.judgement.top5} | {row.judgement.probability:.2f} | {answers} "
            f"| {row.seconds:.0f} | {row.peak_gb:.2f} | {row.attempts} |"
        )
    return "\n".join([*lines, ""])


def sheet(rows: list[Row], columns: int = 4) -> Image.Image:
    """Return one picture of all nouns: the front and the view from 135 degrees of each, with its count."""
    pictures = [Image.open(row.path / "contact_sheet.png").convert("RGB") for row in rows]
    side = pictures[0].width // 4
    grid = Image.new("RGB", (columns * 2 * side, -(-len(rows) // columns) * (side + 16)), "white")
    draw = ImageDraw.Draw(grid)
    for index, (row, picture) in enumerate(zip(rows, pictures, strict=True)):
        x, y = index % columns * 2 * side, index // columns * (side + 16)
        grid.paste(picture.crop((0, 0, side, side)), (x, y + 16))
        grid.paste(picture.crop((3 * side, 0, 4 * side, side)), (x + side, y + 16))
        draw.text((x + 4, y + 2), f"{row.noun}: {row.judgement.top1} of 8", fill="black")
    return grid


def _png(image: Image.Image) -> bytes:
    import io

    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


if __name__ == "__main__":
    main()
