"""Twenty-four of the 153 captions that Dream Fields is judged on: does a judge find them again among all?

python benchmarks/captions.py [--preset quick] [--seed 0] [--jobs 1] [--count 24] [--extra="--guidance.mode both"]

R@1 and R@5 among all 153, of the object with its colours and textureless, as `dreamfields evaluate retrieval` asks
it, by two judges on EfficientNet-Lite1, which never guides: its adapters, and its closed form, which knows nouns and
little else. Writes a table and a picture into --out; see `runs` for how objects are made and kept.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from dreamfields import paper
from dreamfields.devices import resolve_device
from dreamfields.evaluate.classifier import held_out_renderings
from dreamfields.evaluate.judges import load_judge
from dreamfields.evaluate.report import WITHIN, words
from dreamfields.evaluate.retrieval import Judged, Retrieval, captions, judge_images, render_pair

import runs

COUNT = 24
ADAPTERS, CLOSED_FORM = "adapters", "closed form"


@dataclass(frozen=True)
class Arguments:
    """What to make."""

    plan: Annotated[runs.Plan, tyro.conf.arg(name="")] = field(
        default_factory=lambda: runs.Plan(runs=Path("runs/captions"))
    )
    count: int = COUNT
    """How many of the 24, from the first on."""
    samples: int = paper.TEST_SAMPLES
    """Samples a ray of the pictures that are judged; the paper's 512."""


def spread(count: int = COUNT) -> list[str]:
    """Return some of the captions, evenly over the paper's list from its first to its last: neighbours are alike."""
    known = captions()
    return [known[round(index * (len(known) - 1) / (count - 1))] for index in range(count)]


def main() -> None:
    """Make the objects, judge them, write table and sheet."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if not 1 <= arguments.count <= COUNT:
        raise SystemExit(f"--count is {arguments.count}; it must be from 1 to {COUNT}")
    device = resolve_device("auto")
    paths = runs.make_all(spread()[: arguments.count], arguments.plan)
    asked = {ADAPTERS: load_judge("lit", device, "adapters"), CLOSED_FORM: load_judge("lit", device)}
    size = asked[ADAPTERS].image_size  # Both are on one tower, so they are shown the same images.
    images, outcomes = [], []
    for path in paths:
        run = runs.opened(path, *asked.values())
        images.append(render_pair(run.candidate(), size, arguments.samples))
        outcomes.append(runs.outcome(run, held_out_renderings(run.trained_state().field, size)))
    found = {name: judge_images(judge, images) for name, judge in asked.items()}
    lines = table(found, outcomes, arguments.plan)
    entries = [(path, label(one)) for path, one in zip(paths, found[ADAPTERS].objects, strict=True)]
    runs.write("captions", arguments.plan, lines, entries)


def label(one: Judged) -> str:
    """Return the text of an object on the sheet."""
    return f"{one.caption}\n{one.colour.rank}. with colours, {one.textureless.rank}. without"


def table(found: dict[str, Retrieval], outcomes: list[runs.Outcome], plan: runs.Plan) -> list[str]:
    """Return the results as lines of Markdown, failures included."""
    known = found[ADAPTERS].captions
    first = found[ADAPTERS].fraction(1)
    fractions = [
        (name, look, *(words(retrieval.fraction(within, look == "textureless")) for within in WITHIN))
        for name, retrieval in found.items()
        for look in ("colours", "textureless")
    ]
    chance = ("chance", "", *(f"{found[ADAPTERS].chance(within):.1%}" for within in WITHIN))
    lines = [
        *runs.heading("Captions", plan),
        f"Judges: EfficientNet-Lite1 with adapters and in closed form, each object's own caption among {known}; "
        "azimuth 30, elevation 45, over white, with colours and textureless. Fractions with their standard errors.",
        "",
        f"**R@1 {words(first)}** of {first.objects} objects; {runs.medians(outcomes)}.",
        "",
        *runs.markdown(("judge", "look", *(f"R@{within}" for within in WITHIN)), [*fractions, chance]),
        "",
    ]
    looks = [f"{name}, {look}" for name in found for look in ("colours", "textureless")]
    rows = []
    for index, outcome in enumerate(outcomes):
        seen = [retrieval.objects[index] for retrieval in found.values()]
        ranks = [rank for one in seen for rank in (one.colour.rank, one.textureless.rank)]
        rows.append((seen[0].caption, *ranks, seen[0].colour.nearest, *runs.cells(outcome)))
    return lines + runs.markdown(("caption", *looks, "nearest", *runs.COLUMNS), rows)


if __name__ == "__main__":
    main()
