"""Where the seconds of the whole command go: imports, the way to the first step, the steps, each file.

python benchmarks/command.py [--preset quick] [--prompt "a teapot"] [--threads 0] [--out benchmarks/results]

Every part runs once, in the order of `dreamfields generate` but for the time-lapse, in this fresh process. What the
first step takes longer than the median one is compiling; where it was done before, reading its result.
"""

import importlib
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import tyro

import dreamfields
from dreamfields.storage import atomic_write


@dataclass(frozen=True)
class Arguments:
    """What to make and where to leave the results."""

    prompt: str = "a teapot"
    preset: str = "quick"
    guidance: str = "lit"
    seed: int = 0
    steps: int = 0
    """Steps; 0 takes the preset's."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    out: Path = Path("benchmarks/results")


class Clock:
    """The seconds of each part, in order."""

    def __init__(self) -> None:
        """Begin with none."""
        self.seconds: dict[str, float] = {}

    def time(self, part: str, work: Callable[[], object]) -> None:
        """Do some work as a part."""
        began = time.perf_counter()
        work()
        self.seconds[part] = time.perf_counter() - began


def main() -> None:
    """Make one object part by part and write what each took."""
    arguments, clock = tyro.cli(Arguments, description=__doc__), Clock()
    clock.time("imports", import_everything)
    with tempfile.TemporaryDirectory() as folder:
        make(arguments, Path(folder), clock)
    text = report(arguments, clock.seconds)
    atomic_write(arguments.out / f"command_{arguments.preset}_{date.today()}.md", text.encode())
    sys.stdout.write(text)


def import_everything() -> None:
    """Import what a run needs."""
    importlib.import_module("dreamfields.cli.main")
    importlib.import_module("dreamfields.runs.run")
    for module in ("render.cpu.kernels", "guidance.cpu.loops"):
        importlib.import_module(f"dreamfields.{module}")


def make(arguments: Arguments, folder: Path, clock: Clock) -> None:
    """Make the object and its files."""
    run = dreamfields.start(
        arguments.prompt,
        folder,
        preset=arguments.preset,
        seed=arguments.seed,
        steps=arguments.steps or None,
        guidance=arguments.guidance,
        threads=arguments.threads,
    )
    steps: list[float] = []
    times = [time.perf_counter()]
    for step in run.steps():
        steps.append(step.seconds)
        times.append(time.perf_counter())
    median = statistics.median(steps)
    clock.seconds["loading weights and prompt"] = times[1] - times[0] - steps[0]
    clock.seconds["compiling"] = steps[0] - median
    clock.seconds["steps"] = times[-1] - times[1] + median
    asset = run.asset()
    clock.time("contact sheet", lambda: run.sheet(run.path / "contact_sheet.png"))
    clock.time("turntable", lambda: run.turntable(run.path / "turntable.mp4"))
    clock.time("mesh and texture", lambda: asset.mesh)
    clock.time("GLB, and how well it fits the field", lambda: run.export(run.path / "object.glb", asset))
    clock.time("page", lambda: run.export(run.path / "object.html", asset))


def report(arguments: Arguments, seconds: dict[str, float]) -> str:
    """Return the results as Markdown."""
    import torch

    total = sum(seconds.values())
    lines = [
        f"# The whole command: preset `{arguments.preset}`",
        "",
        f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python "
        f"{platform.python_version()}. {arguments.prompt!r}, seed {arguments.seed}; {total:.1f} s in all.",
        "",
        "| part | seconds | share, % |",
        "|---|---|---|",
        *(f"| {part} | {one:.1f} | {100.0 * one / total:.1f} |" for part, one in seconds.items()),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
