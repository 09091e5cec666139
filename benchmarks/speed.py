"""What a step costs, and its parts beside the one that nothing can save: the guidance on the same pictures.

python benchmarks/speed.py [--device auto] [--threads 0] [--preset quick] [--repeats 40] [--out benchmarks/results]

The floor is a guide's forward and backward pass over exactly the pictures of the step it is compared with. Every part
is timed once a repeat, in turn, so that a machine that slows down slows all of them; figures are medians, and ratios
are medians of the ratios within a repeat. Then come the ways cost grows: with rays, samples, grid and pictures a step.
On a CPU the towers of `lit` come last, by each of their two ways, on one thread and on all. Writes a table and, where
matplotlib is installed (pip install '.[bench]'), a plot. Needs about six minutes on two cores.
"""

import importlib.util
import io
import math
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import torch
import towers
import tyro
from PIL import Image
from torch import Tensor

import dreamfields
from dreamfields.config import Config
from dreamfields.devices import Device, resolve_device, thread_count
from dreamfields.guidance.ensemble import load_guides
from dreamfields.optimize.adam import Adam
from dreamfields.optimize.loop import take_step
from dreamfields.optimize.objective import Target, guide_images, make_targets
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.optimize.settings import Recipe
from dreamfields.optimize.state import TrainingState
from dreamfields.presets import preset
from dreamfields.render.renderer import Engine, Rendering, render
from dreamfields.render.volume import draw_jitter
from dreamfields.scene.cameras import Camera, sample_cameras
from dreamfields.scene.fields.base import AbstractField
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.storage import atomic_write

import runs


@dataclass(frozen=True)
class Arguments:
    """What to time and where to leave the results."""

    device: Device = "auto"
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    preset: str = "quick"
    prompt: str = "a teapot"
    warm_up: int = 60
    """Steps before anything is timed: the object has begun to stand out, and all is compiled."""
    repeats: int = 40
    out: Path = Path("benchmarks/results")


@dataclass(frozen=True)
class Curve:
    """How seconds grow with one quantity, all else as in the preset."""

    name: str
    amounts: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Return p of seconds ~ amount^p between the two largest amounts; 1 is linear."""
        (a, b), (s, t) = self.amounts[-2:], self.seconds[-2:]
        return math.log(t / s) / math.log(b / a)


class Bench:
    """A run that has got going, and clocks for the parts of its steps."""

    def __init__(self, arguments: Arguments) -> None:
        """Load guides and field and take the first steps."""
        torch.set_num_threads(thread_count(arguments.threads))
        self.device = resolve_device(arguments.device)
        self.recipe: Recipe = preset(arguments.preset).recipe
        config = Config(arguments.prompt, recipe=self.recipe)
        began = time.perf_counter()
        guides = load_guides(self.recipe.guidance, self.device)
        self.targets: list[Target] = make_targets(guides, self.recipe.guidance.template, config.prompt)
        self.state = TrainingState(self.recipe, config.seed, self.device)
        take_step(self.state, self.targets)
        self.first_step = time.perf_counter() - began
        for _ in range(arguments.warm_up - 1):
            take_step(self.state, self.targets)

    def clock(self, work: Callable[[], object]) -> float:
        """Return the seconds that some work takes, its last kernel included."""
        self._wait()
        began = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def cameras(self, count: int) -> list[Camera]:
        """Return the cameras of the present step."""
        return sample_cameras(self.recipe.cameras, count, seeded_generator(0, "cameras", self.state.step))

    def view(
        self,
        views: int | None = None,
        size: int | None = None,
        samples: int | None = None,
        field: AbstractField | None = None,
        engine: Engine = "auto",
    ) -> Rendering:
        """Render the present step's views, or other than the recipe's."""
        settings = self.recipe.render
        cameras = self.cameras(views or self.recipe.optimize.views)
        size, samples = size or settings.size, samples or settings.samples
        draws = seeded_generator(0, "samples", self.state.step)
        return render(
            self.state.field if field is None else field,
            cameras,
            size,
            samples,
            occupancy=self.state.occupancy,
            jitter=draw_jitter(len(cameras) * size**2, samples, settings.jitter, draws),
            termination=settings.termination,
            engine=engine,
        )

    def pictures(self) -> tuple[Target, Tensor]:
        """Return the guide of the present step and the very pictures it will be shown."""
        step = self.state.step
        index = step % len(self.targets) if self.recipe.guidance.alternate else 0
        draws = seeded_generator(self.state.attempt_seed, f"guide {index}", step)
        target = self.targets[index]
        with torch.no_grad():
            return target, guide_images(self.view(), target.guidance, self.recipe, draws)

    def guide(self, target: Target, pictures: Tensor) -> None:
        """Score pictures and take the gradient back to them: the floor."""
        asked = pictures.detach().requires_grad_(True)
        target.guidance.score(asked, target.embeddings.table[0, 0]).mean().backward()  # type: ignore[no-untyped-call]


def main() -> None:
    """Time everything and write the results."""
    arguments = tyro.cli(Arguments, description=__doc__)
    bench = Bench(arguments)
    parts = time_parts(bench, arguments.repeats)
    curves = time_curves(bench)
    names = [target.guidance.name for target in bench.targets]
    times = []
    if bench.device.type == "cpu" and all(name.startswith("lit") for name in names):
        pictures = bench.recipe.optimize.views * bench.recipe.optimize.backgrounds
        sizes = bench.targets[0].guidance.image_sizes
        times = towers.time_towers(pictures, sizes, sorted({1, torch.get_num_threads()}))
    name = f"speed_{date.today()}_{bench.device.type}"
    text = report(arguments, bench, parts, curves)
    if times:
        text += "\n".join(["", "## Towers", "", *towers.table(times), ""])
    atomic_write(arguments.out / f"{name}.md", text.encode())
    if importlib.util.find_spec("matplotlib"):
        atomic_write(arguments.out / f"{name}.webp", plot(curves))
    sys.stdout.write(text)


def time_parts(bench: Bench, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every part of a step, a figure a repeat, all parts in turn."""
    seconds: dict[str, list[float]] = {}
    for repeat in range(repeats):
        row: dict[str, float] = {}
        target, pictures = bench.pictures()
        row["guidance (the floor)"] = bench.clock(lambda t=target, p=pictures: bench.guide(t, p))  # type: ignore[misc]
        views: list[Rendering] = []
        row["render, forward"] = bench.clock(lambda v=views: v.append(bench.view()))  # type: ignore[misc]
        row["render, backward"] = bench.clock(views[0].colour.square().mean().backward)
        optimizer = bench.state.optimizer
        row["optimiser"] = bench.clock(lambda o=optimizer: _step_of_nothing(o))  # type: ignore[misc]
        if repeat % 8 == 0:
            row["render, both ways, by the reference"] = bench.clock(
                lambda: bench.view(engine="reference").colour.square().mean().backward()  # type: ignore[no-untyped-call]
            )
        row["whole step"] = bench.clock(lambda: take_step(bench.state, bench.targets))
        row["step without guidance"] = row["whole step"] - row["guidance (the floor)"]
        for part, figure in row.items():
            seconds.setdefault(part, []).append(figure)
    return seconds


def _step_of_nothing(optimizer: Adam) -> None:
    """Take the optimiser's step at a rate of 0, so that the field stays as it is."""
    optimizer.rate, rate = 0.0, optimizer.rate
    optimizer.step()
    optimizer.rate = rate


def time_curves(bench: Bench) -> list[Curve]:
    """Return how the render, and the guide, grow with what they are asked for."""

    def rendered(**changes: int) -> Callable[[], object]:
        return lambda: bench.view(**changes).colour.square().mean().backward()  # type: ignore[arg-type, no-untyped-call]

    def in_grid(levels: int) -> Callable[[], object]:
        field = VoxelField(replace(bench.recipe.voxels, levels=levels)).to(bench.device)
        return lambda: bench.view(field=field).colour.square().mean().backward()  # type: ignore[no-untyped-call]

    target, pictures = bench.pictures()

    def guided(count: int) -> Callable[[], object]:
        many = pictures.repeat(-(-count // len(pictures)), 1, 1, 1)[:count]
        return lambda: bench.guide(target, many)

    side, coarsest = bench.recipe.render.size, bench.recipe.voxels.coarsest_cells
    sides, views, samples, levels = (side // 2, side, 2 * side), (1, 2, 4, 8, 16), (16, 32, 64, 128), (4, 5, 6)
    return [
        _curve(bench, "rays a view", [s * s for s in sides], [rendered(size=s) for s in sides]),
        _curve(bench, "samples a ray", samples, [rendered(samples=s) for s in samples]),
        _curve(bench, "cells a side", [coarsest * 2 ** (n - 1) for n in levels], [in_grid(n) for n in levels]),
        _curve(bench, "views, rendered", views, [rendered(views=n) for n in views]),
        _curve(bench, "pictures, guided", views, [guided(n) for n in views]),
    ]


def _curve(bench: Bench, name: str, amounts: Sequence[int], works: Sequence[Callable[[], object]]) -> Curve:
    for work in works:
        work()
    rounds = [[bench.clock(work) for work in works] for _ in range(7)]
    return Curve(name, tuple(amounts), tuple(statistics.median(column) for column in zip(*rounds, strict=True)))


def report(arguments: Arguments, bench: Bench, parts: dict[str, list[float]], curves: list[Curve]) -> str:
    """Return the results as Markdown."""
    floor = parts["guidance (the floor)"]
    lines = [
        f"# Speed: preset `{arguments.preset}` on {bench.device.type}",
        "",
        f"{date.today()}, {hardware(bench.device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}, dreamfields {dreamfields.__version__}. {arguments.prompt!r}, after "
        f"{arguments.warm_up} steps, {arguments.repeats} repeats, parts in turn. From nothing in memory but the "
        f"libraries to the end of the first step: {bench.first_step:.1f} s. "
        f"Peak memory {peak_gigabytes(bench.device):.2f} GB.",
        "",
        "| part | median ms | times the floor |",
        "|---|---|---|",
    ]
    for part, seconds in parts.items():
        ratios = [figure / base for figure, base in zip(seconds, floor, strict=False)]
        lines.append(f"| {part} | {1e3 * statistics.median(seconds):.1f} | {statistics.median(ratios):.2f} |")
    render_both = statistics.median(parts["render, forward"]) + statistics.median(parts["render, backward"])
    reference = statistics.median(parts["render, both ways, by the reference"])
    settings, views = bench.recipe.render, bench.recipe.optimize.views
    samples = views * settings.size**2 * settings.samples
    lines += [
        "",
        f"The render, both ways, is {reference / render_both:.1f} times as fast as the reference, and goes through "
        f"{samples / render_both / 1e6:.1f} million samples a second, counting those skipped.",
        "",
        "| grows with | amounts | median ms | exponent at the end |",
        "|---|---|---|---|",
    ]
    for curve in curves:
        figures = ", ".join(f"{1e3 * seconds:.1f}" for seconds in curve.seconds)
        lines.append(f"| {curve.name} | {', '.join(map(str, curve.amounts))} | {figures} | {curve.exponent:.2f} |")
    return "\n".join([*lines, ""])


def hardware(device: torch.device) -> str:
    """Return what computes, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.machine()


def peak_gigabytes(device: torch.device) -> float:
    """Return the most memory held so far: of the device, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def plot(curves: list[Curve]) -> bytes:
    """Return a picture of all curves beside lines of slope 1."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(3.2 * len(curves), 3.2), constrained_layout=True)
    for axis, curve in zip(axes, curves, strict=True):
        milliseconds = [1e3 * seconds for seconds in curve.seconds]
        linear = [milliseconds[-1] * amount / curve.amounts[-1] for amount in curve.amounts]
        axis.loglog(curve.amounts, milliseconds, "o-", label="measured")
        axis.loglog(curve.amounts, linear, "--", color="grey", label="linear")
        axis.set(xlabel=curve.name, ylabel="ms" if axis is axes[0] else "")
        axis.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    return runs.webp(Image.open(drawn), lossless=True)  # Of lines and letters, that is smaller and sharper, too.


if __name__ == "__main__":
    main()
