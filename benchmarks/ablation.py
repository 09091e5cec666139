"""The paper's tables 1 and 2, row by row, beside its own figures.

python benchmarks/ablation.py [--size cpu] [--rows ...] [--subjects ...] [--seeds 0 ...] [--out benchmarks/results]

Each row is a recipe: table 1 adds one part at a time to a simplified NeRF, table 2 keeps scenes sparse in six ways. At
size `cpu` a small network is shaped by `lit` for six nouns and judged by EfficientNet-Lite1 (the share of eight views
named right, and the mean probability): 90 objects of some two minutes of one core. At size `paper` the recipes are
those of `paper-mq`, guided by CLIP B/16 for the 153 captions and judged by retrieval with CLIP B/32: for a GPU.

An object that is there already is not made again and one that was stopped goes on, so the benchmark can be stopped and
started at will, or shared out by --rows and --subjects; the table is always of all that is there.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
import tyro

import dreamfields
from dreamfields import api, paper
from dreamfields.config import Config
from dreamfields.evaluate.classifier import Judge
from dreamfields.evaluate.judges import load_judge
from dreamfields.evaluate.retrieval import Fraction, captions, judge_objects
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.runs.directory import directory_name
from dreamfields.storage import atomic_write

import runs

Size = Literal["cpu", "paper", "tiny"]
Change = Callable[[Recipe], Recipe]

NOUNS: Mapping[str, tuple[str, ...]] = {
    "a banana": ("banana",),
    "a cheeseburger": ("cheeseburger",),
    "a strawberry": ("strawberry",),
    "a teapot": ("teapot",),
    "a soccer ball": ("soccer ball",),
    "a mushroom": ("mushroom", "agaric", "bolete"),
}
"""Subjects of size `cpu`, with the ImageNet classes that count as right."""
RUNS = Path("runs/ablation")
SMALL_SHEETS = ExportSettings(sheet_size=96, still_samples=24, lapse_frames=0)
"""Networks take long to look at, and these are looked at in passing."""
JUDGED_SIZE, JUDGED_SAMPLES = 96, 24
"""Pixels a side and samples a ray of what the judge of size `cpu` sees, a few times what the guides saw."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str
    table: int
    published: str
    """R-Precision in the paper, in percent, by CLIP B/32."""
    change: Change
    """Of the row above in table 1, of the whole recipe in table 2."""


@dataclass(frozen=True)
class Arguments:
    """What to make and where to leave the results."""

    size: Size = "cpu"
    rows: tuple[str, ...] = ()
    """Names of rows; all if none is given."""
    subjects: tuple[str, ...] = ()
    """Prompts; all of the size's if none is given."""
    seeds: tuple[int, ...] = (0,)
    """The paper has two for table 1 and one for table 2."""
    steps: int | None = None
    """Steps an object; the size's if not given."""
    device: str = "auto"
    threads: int = 0
    runs: Path = RUNS
    out: Path = Path("benchmarks/results")


def with_losses(**changes: object) -> Change:
    """Return the change of a recipe's losses."""
    return lambda recipe: replace(recipe, losses=replace(recipe.losses, **changes))


def with_mlp(**changes: object) -> Change:
    """Return the change of a recipe's network."""
    return lambda recipe: replace(recipe, mlp=replace(recipe.mlp, **changes))


def simplified(recipe: Recipe) -> Recipe:
    """Return the recipe without all that table 1 adds: plain NeRF in front of black, sampled in a shell."""
    return replace(
        recipe,
        field="nerf",
        mlp=replace(recipe.mlp, encoding="plain", directions="axes"),
        augment=replace(recipe.augment, crop=recipe.render.size),
        losses=replace(recipe.losses, transmittance=0.0),
        backgrounds=replace(recipe.backgrounds, noise=0.0, checkerboard=0.0, fourier=0.0, plain=0.0, black=1.0),
        render=replace(recipe.render, bounds=False),
        cameras=replace(recipe.cameras, track="off"),
    )


def tables(whole: Recipe) -> list[Row]:
    """Return all rows of a whole recipe, those of table 1 as changes of the row above."""
    first = [
        Row("simplified NeRF", 1, "31.4 ± 2.7", simplified),
        Row("+ integrated encoding", 1, "29.7 ± 2.6", with_mlp(encoding="integrated")),
        Row("+ Fourier features", 1, "24.2 ± 2.5", with_mlp(directions=whole.mlp.directions)),
        Row("+ random crops", 1, "25.8 ± 2.5", lambda row: replace(row, augment=whole.augment)),
        Row("+ transmittance loss", 1, "23.7 ± 2.4", lambda row: replace(row, losses=whole.losses)),
        Row("+ backgrounds", 1, "44.1 ± 2.8", lambda row: replace(row, backgrounds=whole.backgrounds)),
        Row("+ architecture", 1, "52.0 ± 2.9", lambda row: replace(row, field="mlp")),
        Row("+ scene bounds", 1, "65.4 ± 2.7", lambda row: replace(row, render=whole.render)),
        Row("+ tracked origin", 1, "59.8 ± 2.8", lambda row: replace(row, cameras=whole.cameras)),
    ]
    second = [
        Row("no regularizer", 2, "35.3", with_losses(transmittance=0.0)),
        Row("density noise", 2, "47.7", with_losses(transmittance=0.0, density_noise=(1.0, 1.0))),
        Row("beta prior", 2, "50.3", with_losses(transmittance=0.0, beta_prior=0.001)),
        Row("gated transmittance", 2, "34.6", with_losses(transmittance_form="gated")),
        Row("clipped gated transmittance", 2, "62.1", with_losses(transmittance_form="clipped-gated")),
        Row("clipped additive transmittance", 2, "62.1", lambda recipe: recipe),
    ]
    return first + second


def recipes(whole: Recipe) -> dict[str, Recipe]:
    """Return the recipe of every row, by its name."""
    made, above = {}, whole
    for row in tables(whole):
        above = row.change(above if row.table == 1 else whole)
        made[row.name] = above
    return made


def whole_recipe(size: Size, steps: int | None) -> Recipe:
    """Return the recipe with all parts, at a size."""
    recipe = paper.MQ
    if size != "paper":
        tiny = size == "tiny"
        side = 12 if tiny else 32
        small = {"frequencies": 4, "width": 8, "hidden": 8} if tiny else {"frequencies": 64, "width": 64, "hidden": 128}
        recipe = replace(
            recipe,
            guidance=GuidanceSettings(name="toy" if tiny else "lit", image_size=32 if tiny else 160),
            mlp=replace(recipe.mlp, max_octave=6.0, anneal_steps=40, checkpoint_layers=False, **small),
            render=replace(recipe.render, size=side, samples=8 if tiny else 16, occupancy_cells=4 if tiny else 16),
            augment=replace(recipe.augment, crop=side * 9 // 10),
            # A fiftieth of the steps, at ten times the rate.
            optimize=replace(recipe.optimize, steps=200, backgrounds=2 if tiny else 4, learning_rate=1e-3),
            losses=replace(recipe.losses, transmittance_ramp=0.2),
        )
    return recipe if steps is None else replace(recipe, optimize=replace(recipe.optimize, steps=steps))


def main() -> None:
    """Make all objects that are asked for and not there, judge them, write the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    whole = whole_recipe(arguments.size, arguments.steps)
    known = recipes(whole)
    chosen = {name: recipe for name, recipe in known.items() if name in (arguments.rows or known)}
    unknown = set(arguments.rows) - chosen.keys()
    if unknown:
        raise SystemExit(f"ablation.py: there is no row called {min(unknown)!r}; rows: {', '.join(known)}")
    subjects = arguments.subjects or (captions() if arguments.size == "paper" else tuple(NOUNS))
    folder = arguments.runs / arguments.size
    judge = judge_of(arguments.size)
    for seed in arguments.seeds:
        for subject in subjects:
            for name, recipe in chosen.items():
                make(folder / slug(name), name, subject, configuration(arguments, recipe, subject, seed), judge)
    found = outcomes(folder)
    text = table(found, whole, arguments.size)
    atomic_write(arguments.out / f"ablation_{arguments.size}.md", text.encode())
    order = list(known)
    seen = [(path, one) for path, one in found if (path / "contact_sheet.png").exists()]
    seen.sort(key=lambda entry: order.index(entry[1]["row"]))
    entries = [(path, f"{one['row']}\n{one['subject']}") for path, one in seen]
    atomic_write(arguments.out / f"ablation_{arguments.size}.webp", runs.webp(runs.sheet(entries)))
    sys.stdout.write(text)


def configuration(arguments: Arguments, recipe: Recipe, subject: str, seed: int) -> Config:
    """Return the configuration of one object."""
    return Config(
        subject,
        seed=seed,
        device=arguments.device,  # type: ignore[arg-type]
        threads=arguments.threads,
        recipe=recipe,
        export=paper.EXPORT if arguments.size == "paper" else SMALL_SHEETS,
    )


JudgeOf = Callable[[api.Run], dict[str, float]]
Outcome = dict[str, Any]
"""What the judge says of an object, beside its row, subject, seed and seconds."""


def judge_of(size: Size) -> JudgeOf:
    """Return who judges at a size: `score` in [0, 1] and, of nouns, the mean `probability`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if size == "paper":
        model = load_judge(f"clip:{paper.JUDGE}", device)

        def retrieved(run: api.Run) -> dict[str, float]:
            return {"score": judge_objects(model, [run.candidate()], paper.TEST_SAMPLES).fraction(1).value}

        return retrieved
    judge = Judge(device)

    def named(run: api.Run) -> dict[str, float]:
        candidate = run.candidate()
        seen = judge.judge(candidate.field, NOUNS[run.config.prompt], JUDGED_SAMPLES, JUDGED_SIZE)
        return {"score": seen.top1 / len(seen.views), "probability": seen.probability}

    return named


def make(folder: Path, row: str, subject: str, config: Config, judge: JudgeOf) -> None:
    """Make one object, or go on with it, and leave what the judge says beside it."""
    path = folder / directory_name(config.prompt, config.seed)
    outcome = path / "ablation.json"
    if outcome.exists():
        return
    if twin := twin_of(folder, config):
        path.mkdir(parents=True, exist_ok=True)  # One that was stopped may be there.
        atomic_write(outcome, json.dumps({**twin, "row": row}).encode())
        return
    run = api.load(path) if (path / "run.json").exists() else api.start(config, folder)
    for _ in run.steps():
        pass
    facts = {"row": row, "subject": subject, "seed": config.seed, "seconds": run.record.seconds, **judge(run)}
    atomic_write(outcome, json.dumps(facts).encode())
    run.sheet(path / "contact_sheet.png")
    sys.stderr.write(f"{row}, {subject}, seed {config.seed}: {facts['score']:.2f}, {facts['seconds']:.0f} s\n")


def twin_of(folder: Path, config: Config) -> Outcome | None:
    """Return the outcome of another row that is made the same way, if there is one: both tables end with all parts."""
    for outcome in folder.parent.glob(f"*/{directory_name(config.prompt, config.seed)}/ablation.json"):
        if (outcome.parent / "run.json").exists() and api.load(outcome.parent).config == config:
            found: Outcome = json.loads(outcome.read_text())
            return found
    return None


def outcomes(folder: Path) -> list[tuple[Path, Outcome]]:
    """Return all objects that are there, with their outcomes, by row and subject."""
    return [(path.parent, json.loads(path.read_text())) for path in sorted(folder.glob("*/*/ablation.json"))]


def table(all_found: Sequence[tuple[Path, Outcome]], whole: Recipe, size: Size) -> str:
    """Return all outcomes as Markdown, beside the paper's."""
    found: dict[object, list[Outcome]] = {}
    for _, outcome in all_found:
        found.setdefault(outcome["row"], []).append(outcome)
    judged = "R@1 among 153 captions by CLIP B/32" if size == "paper" else "views named right by EfficientNet-Lite1"
    seeds = sorted({int(one["seed"]) for ones in found.values() for one in ones})
    lines = [
        f"# Ablation at size `{size}`",
        "",
        f"{date.today()}, dreamfields {dreamfields.__version__}, torch {torch.__version__}; seeds {seeds}; "
        f"{whole.optimize.steps} steps, {whole.render.size} pixels, guidance `{whole.guidance.name}`. Ours: {judged}, "
        "in percent, with the standard error over objects; the paper's: R-Precision by CLIP B/32. The two measure "
        "different things at different sizes: compare the order of rows, not figures.",
    ]
    for number in (1, 2):
        lines += ["", f"## Table {number}", "", "| row | paper | ours | probability, % | objects | seconds an object |"]
        lines += ["|---|---|---|---|---|---|"]
        for row in (one for one in tables(whole) if one.table == number):
            lines.append(f"| {row.name} | {row.published} | {_cells(found.get(row.name, []))} |")
    return "\n".join([*lines, ""])


def _cells(ones: Sequence[Outcome]) -> str:
    if not ones:
        return "not made | | 0 | "
    score = Fraction(fmean(one["score"] for one in ones), len(ones))
    sure = [one["probability"] for one in ones if "probability" in one]
    probability = f"{100 * fmean(sure):.2g}" if sure else ""
    seconds = fmean(one["seconds"] for one in ones)
    return f"{100 * score.value:.1f} ± {100 * score.error:.1f} | {probability} | {len(ones)} | {seconds:.0f}"


def slug(name: str) -> str:
    """Return a name for a folder."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())


if __name__ == "__main__":
    main()
