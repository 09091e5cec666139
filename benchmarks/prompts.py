"""Twenty-four free prompts: attributes, materials, several parts, and things that no ImageNet class names.

python benchmarks/prompts.py [--preset quick] [--seed 0] [--jobs 1] [--prompts "a giraffe" ...] [--extra="--steps 300"]

The judge of sentences, adapters on EfficientNet-Lite1 that never guide, looks for each object's own prompt among all
24: R@1 and R@5 of the mean over eight held-out views over white, grey and black. Writes a table and a picture into
--out; see `runs` for how objects are made and kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from dreamfields.devices import resolve_device
from dreamfields.evaluate.classifier import held_out_renderings, similarities
from dreamfields.evaluate.judges import load_judge
from dreamfields.evaluate.report import WITHIN, words
from dreamfields.evaluate.retrieval import Found, Fraction, rank
from dreamfields.guidance.base import AbstractGuidance

import runs

PROMPTS: Mapping[str, tuple[str, ...]] = {
    "attributes": (
        "a bright yellow rubber duck",
        "a tall red and white lighthouse",
        "a small green cactus in a pot",
        "a striped hot air balloon",
        "a black cat with green eyes",
        "a butterfly with blue wings",
    ),
    "materials": (
        "a wooden rocking horse",
        "a rusty iron anchor",
        "a golden crown with red jewels",
        "a knitted teddy bear",
        "a marble statue of a lion",
        "a brown leather boot",
    ),
    "parts": (
        "a bouquet of sunflowers in a blue vase",
        "a snowman with a carrot nose and a red scarf",
        "a stack of pancakes on a white plate",
        "a birthday cake with candles",
        "a treasure chest full of gold coins",
        "a bowl of fruit on a wooden table",
    ),
    "no class": (
        "an armchair in the shape of an avocado",
        "a green dragon with wings",
        "a giraffe",
        "a white unicorn",
        "a flying saucer",
        "a gingerbread house",
    ),
}
"""All prompts by what is hard about them."""
ALL = tuple(prompt for prompts in PROMPTS.values() for prompt in prompts)


@dataclass(frozen=True)
class Arguments:
    """What to make."""

    plan: Annotated[runs.Plan, tyro.conf.arg(name="")] = field(
        default_factory=lambda: runs.Plan(runs=Path("runs/prompts"))
    )
    prompts: tuple[str, ...] = ()
    """All if none is given."""


@dataclass(frozen=True)
class Row:
    """One prompt's outcome."""

    prompt: str
    found: Found
    outcome: runs.Outcome


def main() -> None:
    """Make all prompts, judge them, write table and sheet."""
    arguments = tyro.cli(Arguments, description=__doc__)
    prompts = runs.chosen(arguments.prompts, ALL, "prompt")
    paths = runs.make_all(prompts, arguments.plan)
    judge = load_judge("lit", resolve_device("auto"), "adapters")
    rows = [judged(prompt, path, judge) for prompt, path in zip(prompts, paths, strict=True)]
    entries = [(row.outcome.path, f"{row.prompt}\n{row.found.rank}. of {len(ALL)}") for row in rows]
    runs.write("prompts", arguments.plan, table(rows, arguments.plan), entries)


def judged(prompt: str, path: Path, judge: AbstractGuidance) -> Row:
    """Look for a run's own prompt among all."""
    run = runs.opened(path, judge)
    views = held_out_renderings(run.trained_state().field, judge.image_size)
    found = rank(similarities(judge, views, ALL).mean(dim=0), ALL, prompt)
    return Row(prompt, found, runs.outcome(run, views))


def table(rows: list[Row], plan: runs.Plan) -> list[str]:
    """Return the results as lines of Markdown, failures included."""
    fractions = [(kind, [row for row in rows if row.prompt in prompts]) for kind, prompts in PROMPTS.items()]
    lines = [
        *runs.heading("Prompts", plan),
        f"Judge: adapters on EfficientNet-Lite1, each object's own prompt among the {len(ALL)}; elevation 45, "
        "8 azimuths, mean over white, grey and black. Shares with their standard errors.",
        "",
        f"**R@1 {words(fraction(rows, 1))}**; {runs.medians([row.outcome for row in rows])}.",
        "",
        *runs.markdown(
            ("", "objects", *(f"R@{within}" for within in WITHIN)),
            [
                *(
                    (kind, len(some), *(words(fraction(some, within)) for within in WITHIN))
                    for kind, some in (*fractions, ("all", rows))
                    if some
                ),
                ("chance", "", *(f"{within / len(ALL):.1%}" for within in WITHIN)),
            ],
        ),
        "",
    ]
    headings = ("prompt", "rank", "cosine", "nearest", *runs.COLUMNS)
    return lines + runs.markdown(
        headings,
        [
            (row.prompt, row.found.rank, f"{row.found.similarity:.3f}", row.found.nearest, *runs.cells(row.outcome))
            for row in rows
        ],
    )


def fraction(rows: Sequence[Row], within: int) -> Fraction:
    """Return R@within."""
    return Fraction(sum(row.found.rank <= within for row in rows) / len(rows), len(rows))


if __name__ == "__main__":
    main()
