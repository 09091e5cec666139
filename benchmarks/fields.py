"""Grids against a network at equal time: six nouns, each made by the default field and by the paper's network.

python benchmarks/fields.py [--preset quick] [--seed 0] [--jobs 1] [--nouns teapot ...] [--steps 300]

The network is given the steps that take as long as the grids' steps took, measured on this machine before it begins. At
a CPU's pace the whole network sees some ten steps of the preset's size in that time, so it is halved in width and looks
at fewer, smaller pictures at a higher rate, as in the ablation of size `cpu`: `NETWORK` below. Writes a table and a
picture into --out; see `runs` for how objects are made and kept.
"""

import shlex
import tempfile
import time
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import tyro
from rich.console import Console

import dreamfields
from dreamfields import api
from dreamfields.cli import main as cli
from dreamfields.cli.generate import Generate
from dreamfields.devices import resolve_device
from dreamfields.evaluate.classifier import held_out_renderings

import nouns
import runs

NOUNS = ("banana", "cheeseburger", "strawberry", "teapot", "soccer ball", "mushroom")
"""Those of the ablation."""
NETWORK = (
    "--field mlp --mlp.width 64 --mlp.hidden 128 --mlp.frequencies 64 --mlp.max-octave 5 --mlp.no-checkpoint-layers "
    "--mlp.anneal-steps 40 --render.size 32 --render.samples 24 --render.occupancy-cells 16 "
    "--optimize.views 2 --optimize.backgrounds 2 --optimize.learning-rate 0.001 --optimize.warm-up 0.1 "
    f"--render.textureless 0 --losses.fog 0 --collapse.restarts 3 {runs.LIGHT} --export.still-samples 24"
)
"""The network's own options; small exports, as to look at a network takes as long as to shape it."""
JUDGED_SIZE, JUDGED_SAMPLES = 160, 48
"""Pixels a side and samples a ray of what is judged; networks take long to look at."""
WARM_UP, TIMED = 3, 10
"""Steps that are not timed, as they compile and find the scene full, and those that are."""


@dataclass(frozen=True)
class Arguments:
    """What to make."""

    plan: Annotated[runs.Plan, tyro.conf.arg(name="")] = field(
        default_factory=lambda: runs.Plan(runs=Path("runs/nouns"))
    )
    network_runs: Path = Path("runs/networks")
    """Folder of the network's runs."""
    nouns: tuple[str, ...] = ()
    """All if none is given."""
    steps: int = 0
    """Steps of the network; as many as take the grids' time if not given."""


def main() -> None:
    """Make all nouns twice, judge them, write table and sheet."""
    arguments = tyro.cli(Arguments, description=__doc__)
    chosen = runs.chosen(arguments.nouns, NOUNS, "noun")
    prompts = [runs.with_article(noun) for noun in chosen]
    grids = runs.make_all(prompts, arguments.plan)
    budget = median(dreamfields.load(path).record.seconds for path in grids)
    steps = arguments.steps or max(1, round(budget / seconds_a_step(arguments.plan)))
    plan = replace(
        arguments.plan, runs=arguments.network_runs, extra=f"{arguments.plan.extra} {NETWORK} --steps {steps}".strip()
    )
    networks = runs.make_all(prompts, plan)
    judge = dreamfields.Judge(resolve_device("auto"))
    rows = [
        (judged(noun, grid, judge), judged(noun, network, judge))
        for noun, grid, network in zip(chosen, grids, networks, strict=True)
    ]
    entries = [(one.outcome.path, label(one)) for pair in rows for one in pair]
    runs.write("fields", arguments.plan, table(rows, arguments.plan, plan), entries)


def seconds_a_step(plan: runs.Plan) -> float:
    """Return what a step of the network takes on this machine, with the threads that a run has."""
    with tempfile.TemporaryDirectory() as place:
        probe = replace(plan, runs=Path(place), extra=f"{plan.extra} {NETWORK} --steps 1000")
        command = cli.parse(runs.command("a banana", probe), Console(quiet=True))
        assert isinstance(command, Generate)
        steps = api.start(command.configuration, Path(place)).steps()
        list(islice(steps, WARM_UP))
        began = time.perf_counter()
        list(islice(steps, TIMED))
        seconds = time.perf_counter() - began
        steps.close()
    return seconds / TIMED


def judged(noun: str, path: Path, judge: dreamfields.Judge) -> nouns.Row:
    """Judge one noun's run, of either field, at a size at which a network can be looked at."""
    run = runs.opened(path, judge)
    seen = judge.judge(run.trained_state().field, list(nouns.NOUNS[noun]), JUDGED_SAMPLES, JUDGED_SIZE)
    views = held_out_renderings(run.trained_state().field, JUDGED_SIZE // 2, JUDGED_SAMPLES)
    return nouns.Row(noun, seen, runs.outcome(run, views))


def label(row: nouns.Row) -> str:
    """Return the text of an object on the sheet."""
    return f"{field_of(row)}, {row.noun}: {row.judgement.top1} of 8"


def field_of(row: nouns.Row) -> str:
    """Return the name of the field that a row's object is."""
    return dreamfields.load(row.outcome.path).config.recipe.field


def seconds_of(row: nouns.Row) -> float:
    """Return the seconds that all steps of a row's object took."""
    return dreamfields.load(row.outcome.path).record.seconds


def table(rows: list[tuple[nouns.Row, nouns.Row]], plan: runs.Plan, network: runs.Plan) -> list[str]:
    """Return the results as lines of Markdown, failures included."""
    steps = shlex.split(network.extra)[-1]
    lines = [
        *runs.heading("Fields", plan),
        f"Network: `{NETWORK} --steps {steps}`, the rest as the preset has it. Seconds are those of the steps alone. "
        f"Judge: EfficientNet-Lite1, elevation 45, 8 azimuths, mean over white, grey and black, {JUDGED_SIZE} pixels.",
        "",
    ]
    for index, name in enumerate(("grids", "network")):
        some = [pair[index] for pair in rows]
        passed = sum(row.judgement.top1 >= 4 for row in some)
        mean = fmean(row.judgement.probability for row in some)
        lines.append(
            f"* {name}: {passed} of {len(some)} named right in at least 4 of 8 views, mean probability {mean:.2f}"
        )
    headings = ("noun", "field", "top-1 views of 8", "top-5 views", "probability", "seconds of steps", "fog", "outside")
    return [*lines, "", *runs.markdown(headings, [cells(row) for pair in rows for row in pair])]


def cells(row: nouns.Row) -> tuple[object, ...]:
    """Return the cells of one object."""
    seen, (fog, outside, *_) = row.judgement, runs.cells(row.outcome)
    found = (seen.top1, seen.top5, f"{seen.probability:.2f}", f"{seconds_of(row):.0f}")
    return (row.noun, field_of(row), *found, fog, f"{outside}{', empty' if row.outcome.empty else ''}")


if __name__ == "__main__":
    main()
