"""What prompt control does to one object: docs/prompts.md's picture.

python benchmarks/control.py [--preset quick] [--seed 0] [--jobs 1] [--light] [--extra="--steps 300"]

One prompt alone, and with each kind of control. The judge of sentences, adapters on EfficientNet-Lite1 that never
guide, says how near the held-out views come to what was asked besides, with the control and without it. One object of
each is an example and no proof. Writes a table and a picture into --out; see `runs` for how objects are made and kept.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, final

import tyro

from dreamfields.devices import resolve_device
from dreamfields.evaluate.classifier import VIEWS, held_out_cameras, held_out_renderings
from dreamfields.evaluate.judges import load_judge
from dreamfields.evaluate.sentences import similarities
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.render.occupancy import visible_cells
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.render.shading import light_beside, textureless_fields

import runs

PROMPT = "a vase of flowers"
WHERE: Mapping[str, tuple[int, ...]] = {
    "all around": tuple(range(VIEWS)),
    "from the front": (VIEWS - 1, 0, 1),
    "from the back": (VIEWS // 2 - 1, VIEWS // 2, VIEWS // 2 + 1),
}
"""Which of the held-out views."""


@dataclass(frozen=True)
class Look:
    """What the judge is asked of an object."""

    sentence: str
    where: str = "all around"
    textureless: bool = False
    """Whether it sees the shape without its colours."""


@dataclass(frozen=True)
class Control:
    """One way to ask for more than the prompt says."""

    name: str
    flags: str
    looks: tuple[Look, ...]
    """What should change by it."""


ALONE = Control("alone", "", ())
CONTROLS = (
    Control("negative", '--negative-prompt "red and pink flowers"', (Look("red and pink flowers"),)),
    Control("style", '--style "blue and white porcelain"', (Look("blue and white porcelain"),)),
    Control(
        "azimuth",
        '--azimuth-prompts "front:{}, red" "back:{}, yellow"',
        (Look(f"{PROMPT}, red", "from the front"), Look(f"{PROMPT}, yellow", "from the back")),
    ),
    Control("geometry", '--geometry-prompt "a tall bottle"', (Look("a tall bottle", textureless=True),)),
)


@dataclass(frozen=True)
class Arguments:
    """What to make."""

    plan: Annotated[runs.Plan, tyro.conf.arg(name="")] = field(
        default_factory=lambda: runs.Plan(runs=Path("runs/control"))
    )


@final
class Seen:
    """What the judge sees of an object, from all held-out cameras, and what it cost."""

    def __init__(self, path: Path, judge: AbstractGuidance) -> None:
        """Open a run and render it in colour."""
        run = runs.opened(path, judge)
        self.field, self.size = run.trained_state().field, judge.image_size
        self.colour = held_out_renderings(self.field, self.size)
        self.outcome = runs.outcome(run, self.colour)

    @cached_property
    def textureless(self) -> list[Rendering]:
        """Return textureless views, each lit from beside its camera."""
        cameras, occupancy = held_out_cameras(), visible_cells(self.field)
        fields = textureless_fields(self.field, [light_beside(camera.azimuth_deg) for camera in cameras])
        return [
            render_still(shape, camera, self.size, occupancy=occupancy)
            for shape, camera in zip(fields, cameras, strict=True)
        ]


def main() -> None:
    """Make the prompt alone and with each control, judge them, write table and sheet."""
    plan = tyro.cli(Arguments, description=__doc__).plan
    with ThreadPoolExecutor(plan.jobs) as pool:
        paths = list(pool.map(lambda control: made(control, plan), (ALONE, *CONTROLS)))
    judge = load_judge("lit", resolve_device("auto"), "adapters")
    objects = [Seen(path, judge) for path in paths]
    rows = [
        (f"`{control.flags}`", *compared(look, objects[0], one, judge))
        for control, one in zip(CONTROLS, objects[1:], strict=True)
        for look in control.looks
    ]
    words = [control.flags or "alone" for control in (ALONE, *CONTROLS)]
    entries = [(path, f"{PROMPT}\n{said}") for path, said in zip(paths, words, strict=True)]
    runs.write("control", plan, table(rows, words, [one.outcome for one in objects], plan), entries, columns=3)


def made(control: Control, plan: runs.Plan) -> Path:
    """Make the prompt with a control, unless it is there; each control has a folder of its own."""
    extra = f"{plan.extra} {control.flags}".strip()
    return runs.make_all([PROMPT], replace(plan, runs=plan.runs / control.name, extra=extra))[0]


def compared(look: Look, alone: Seen, other: Seen, judge: AbstractGuidance) -> tuple[str, str, str, str]:
    """Return what the judge is asked, where, and the mean cosine without the control and with it."""
    means = []
    for one in (alone, other):
        views = one.textureless if look.textureless else one.colour
        means.append(float(similarities(judge, [views[index] for index in WHERE[look.where]], [look.sentence]).mean()))
    where = f"{look.where}{', in textureless' if look.textureless else ''}"
    return look.sentence, where, f"{means[0]:.3f}", f"{means[1]:.3f}"


def table(
    rows: Sequence[Sequence[str]], words: Sequence[str], outcomes: Sequence[runs.Outcome], plan: runs.Plan
) -> list[str]:
    """Return the results as lines of Markdown."""
    return [
        *runs.heading("Prompt control", plan),
        f"Prompt: {PROMPT}. Judge: adapters on EfficientNet-Lite1; elevation 45, mean over white, grey and black.",
        "",
        *runs.markdown(("control", "asked of the judge", "views", "cosine without", "cosine with"), rows),
        "",
        *runs.markdown(
            ("control", *runs.COLUMNS), [(said, *runs.cells(one)) for said, one in zip(words, outcomes, strict=True)]
        ),
        "",
        f"Over all: {runs.medians(outcomes)}.",
    ]


if __name__ == "__main__":
    main()
