"""Twenty nouns, made by a preset and judged by a model that never guides.

python benchmarks/nouns.py [--preset quick] [--seed 0] [--jobs 1] [--nouns teapot banana ...] [--extra="--steps 300"]

Writes a table and a picture into --out; see `runs` for how objects are made and kept.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

import dreamfields
from dreamfields.devices import resolve_device
from dreamfields.evaluate.classifier import held_out_renderings
from dreamfields.guidance.lit.weights import JUDGE_TOWER

import runs

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
    """What to make."""

    plan: Annotated[runs.Plan, tyro.conf.arg(name="")] = field(
        default_factory=lambda: runs.Plan(runs=Path("runs/nouns"))
    )
    nouns: tuple[str, ...] = ()
    """All if none is given."""


@dataclass(frozen=True)
class Row:
    """One noun's outcome."""

    noun: str
    judgement: dreamfields.Judgement
    outcome: runs.Outcome


def main() -> None:
    """Make all nouns, judge them, write table and sheet."""
    arguments = tyro.cli(Arguments, description=__doc__)
    nouns = runs.chosen(arguments.nouns, NOUNS, "noun")
    paths = runs.make_all([runs.with_article(noun) for noun in nouns], arguments.plan)
    judge = dreamfields.Judge(resolve_device("auto"))
    rows = [judged(noun, path, judge) for noun, path in zip(nouns, paths, strict=True)]
    entries = [(row.outcome.path, f"{row.noun}: {row.judgement.top1} of 8") for row in rows]
    runs.write("nouns", arguments.plan, table(rows, arguments.plan), entries)


def judged(noun: str, path: Path, judge: dreamfields.Judge) -> Row:
    """Judge one noun's run, unless the judge guided it."""
    run = runs.opened(path, judge)
    judgement = run.evaluate(list(NOUNS[noun]), judge)
    views = held_out_renderings(run.trained_state().field, JUDGE_TOWER.native_size)
    return Row(noun, judgement, runs.outcome(run, views))


def table(rows: list[Row], plan: runs.Plan) -> list[str]:
    """Return the results as lines of Markdown, failures included."""
    passed = sum(row.judgement.top1 >= 4 for row in rows)
    lines = [
        *runs.heading("Nouns", plan),
        "Judge: EfficientNet-Lite1, elevation 45, 8 azimuths, mean over white, grey and black.",
        "",
        f"**{passed} of {len(rows)}** nouns are named right in at least 4 of 8 views; "
        f"{runs.medians([row.outcome for row in rows])}.",
        "",
    ]
    headings = ("noun", "top-1 views of 8", "top-5 views", "probability", "answers", *runs.COLUMNS)
    return lines + runs.markdown(headings, [cells(row) for row in rows])


def cells(row: Row) -> tuple[object, ...]:
    """Return the cells of one noun."""
    seen = row.judgement
    answers = ", ".join(sorted({view.answer for view in seen.views}))
    return (row.noun, seen.top1, seen.top5, f"{seen.probability:.2f}", answers, *runs.cells(row.outcome))


if __name__ == "__main__":
    main()
