"""Twenty-four pairs of prompts that differ in one attribute: does an object show the one it was asked for?

python benchmarks/attributes.py [--preset quick] [--seed 0] [--jobs 1] [--pairs "a red teapot" ...] [--extra="..."]

One object is made of each pair, of its first prompt. The judge of sentences, adapters on EfficientNet-Lite1 that never
guide, must find that prompt nearer than the swapped one: the mean over eight held-out views over white, grey and black.
Whoever guesses is right in half of the pairs, and so is who always prefers one word: every two words stand in two
pairs, and each of them is once the one that is made. Writes a table and a picture into --out; see `runs` for how
objects are made and kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from dreamfields.devices import resolve_device
from dreamfields.evaluate.classifier import held_out_renderings, similarities
from dreamfields.evaluate.judges import load_judge
from dreamfields.evaluate.report import words
from dreamfields.evaluate.retrieval import Fraction
from dreamfields.guidance.base import AbstractGuidance

import runs


@dataclass(frozen=True)
class Pair:
    """Two prompts that differ in one word."""

    kind: str
    made: str
    swapped: str


OPPOSITES: tuple[tuple[str, str, str, str, str], ...] = (
    ("colour", "red", "blue", "teapot", "sports car"),
    ("colour", "green", "yellow", "armchair", "umbrella"),
    ("colour", "black", "white", "cat", "mug"),
    ("colour", "pink", "brown", "teddy bear", "handbag"),
    ("colour", "orange", "purple", "vase", "backpack"),
    ("colour", "golden", "silver", "trophy", "crown"),
    ("material", "wooden", "metal", "chair", "bucket"),
    ("material", "glass", "plastic", "bottle", "bowl"),
    ("material", "leather", "straw", "hat", "basket"),
    ("material", "stone", "wooden", "bridge", "bench"),
    ("pattern", "striped", "spotted", "shirt", "scarf"),
    ("shape", "round", "square", "table", "clock"),
)
"""Kind, two words, the thing that is made with the first of them, and the thing that is made with the second."""


def pairs() -> list[Pair]:
    """Return all pairs."""
    found = []
    for kind, first, second, one, other in OPPOSITES:
        found.append(Pair(kind, *(runs.with_article(f"{word} {one}") for word in (first, second))))
        found.append(Pair(kind, *(runs.with_article(f"{word} {other}") for word in (second, first))))
    return found


@dataclass(frozen=True)
class Arguments:
    """What to make."""

    plan: Annotated[runs.Plan, tyro.conf.arg(name="")] = field(
        default_factory=lambda: runs.Plan(runs=Path("runs/attributes"))
    )
    pairs: tuple[str, ...] = ()
    """First prompts of pairs; all if none is given."""


@dataclass(frozen=True)
class Row:
    """One pair's outcome."""

    pair: Pair
    made: float
    """Mean cosine with the prompt that was made."""
    swapped: float
    """Mean cosine with the other."""
    views: int
    """Views of eight that are nearer to the prompt that was made."""
    outcome: runs.Outcome

    @property
    def right(self) -> bool:
        """Tell whether the object is nearer to its own prompt; a tie counts against it."""
        return self.made > self.swapped


def main() -> None:
    """Make one object a pair, judge them, write table and sheet."""
    arguments = tyro.cli(Arguments, description=__doc__)
    known = {pair.made: pair for pair in pairs()}
    asked = [known[made] for made in runs.chosen(arguments.pairs, known, "pair that begins with a prompt")]
    paths = runs.make_all([pair.made for pair in asked], arguments.plan)
    judge = load_judge("lit", resolve_device("auto"), "adapters")
    rows = [judged(pair, path, judge) for pair, path in zip(asked, paths, strict=True)]
    entries = [
        (row.outcome.path, f"{row.pair.made}\n{'right' if row.right else 'wrong'}, {row.views} of 8 views")
        for row in rows
    ]
    runs.write("attributes", arguments.plan, table(rows, arguments.plan), entries)


def judged(pair: Pair, path: Path, judge: AbstractGuidance) -> Row:
    """Compare a run with both prompts of its pair."""
    run = runs.opened(path, judge)
    views = held_out_renderings(run.trained_state().field, judge.image_size)
    seen = similarities(judge, views, (pair.made, pair.swapped))
    made, swapped = seen.mean(dim=0).tolist()
    return Row(pair, made, swapped, int((seen[:, 0] > seen[:, 1]).sum()), runs.outcome(run, views))


def table(rows: list[Row], plan: runs.Plan) -> list[str]:
    """Return the results as lines of Markdown, failures included."""
    kinds = [(kind, [row for row in rows if row.pair.kind == kind]) for kind in dict.fromkeys(p.kind for p in pairs())]
    lines = [
        *runs.heading("Attributes", plan),
        "Judge: adapters on EfficientNet-Lite1, the made prompt against the swapped one; elevation 45, 8 azimuths, "
        "mean over white, grey and black. Shares with their standard errors; chance is 50 %.",
        "",
        f"**{sum(row.right for row in rows)} of {len(rows)}** pairs are right, {words(fraction(rows))}; "
        f"{runs.medians([row.outcome for row in rows])}.",
        "",
        *runs.markdown(
            ("", "pairs", "right"), [(kind, len(some), words(fraction(some))) for kind, some in kinds if some]
        ),
        "",
    ]
    headings = ("made", "swapped", "right", "views of 8", "cosine made", "cosine swapped", *runs.COLUMNS)
    return lines + runs.markdown(headings, [cells(row) for row in rows])


def cells(row: Row) -> tuple[object, ...]:
    """Return the cells of one pair."""
    seen = ("yes" if row.right else "no", row.views, f"{row.made:.3f}", f"{row.swapped:.3f}")
    return (row.pair.made, row.pair.swapped, *seen, *runs.cells(row.outcome))


def fraction(rows: Sequence[Row]) -> Fraction:
    """Return the share of pairs that are right."""
    return Fraction(sum(row.right for row in rows) / len(rows), len(rows))


if __name__ == "__main__":
    main()
