"""Which of two objects of a prompt is better, to an eye that does not know how either was made?

python benchmarks/blind.py show RUNS OTHERS --out FOLDER
python benchmarks/blind.py count FOLDER lr=rl...

`show` draws the runs that two folders both have, one left and one right by chance, on sheets `pairs_1.webp` and so on,
and keeps apart in `key.json` which is which; do not open that. Then write down a letter for each pair: l, r, or = where
neither is better. `count` looks into the key and says how often each folder was preferred.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from PIL import Image, ImageDraw

from dreamfields.storage import atomic_write

import runs

PAIRS = 8
"""On a sheet."""
SIDE = 192
"""Pixels a side of a view."""
ANSWERS = "lr="


@dataclass(frozen=True)
class Show:
    """Draw the pairs."""

    ours: tyro.conf.Positional[Path]
    """Folder of runs."""
    others: tyro.conf.Positional[Path]
    """Folder of runs of the same prompts, made in another way."""
    out: Path = Path("blind")
    """Folder of the sheets and the key."""


@dataclass(frozen=True)
class Count:
    """Count the answers."""

    folder: tyro.conf.Positional[Path]
    """Folder of the sheets and the key."""
    answers: tyro.conf.Positional[str]
    """A letter for each pair in order."""


def main() -> None:
    """Draw or count."""
    command = tyro.cli(
        Annotated[Show, tyro.conf.subcommand("show")] | Annotated[Count, tyro.conf.subcommand("count")],  # type: ignore[arg-type]
        description=__doc__,
    )
    if isinstance(command, Show):
        show(command)
    else:
        count(command)


def show(command: Show) -> None:
    """Write sheets and key."""
    names = sorted(path.parent.name for path in command.ours.glob("*/contact_sheet.png"))
    names = [name for name in names if (command.others / name / "contact_sheet.png").exists()]
    if not names:
        raise SystemExit(f"no run is in both {command.ours} and {command.others}")
    swapped = [secrets.randbelow(2) == 1 for _ in names]
    pairs = [
        (name, *(path / name for path in ((command.others, command.ours) if swap else (command.ours, command.others))))
        for name, swap in zip(names, swapped, strict=True)
    ]
    for first in range(0, len(pairs), PAIRS):
        picture = sheet(pairs[first : first + PAIRS], first)
        atomic_write(command.out / f"pairs_{first // PAIRS + 1}.webp", runs.webp(picture))
    key = {"ours": str(command.ours), "others": str(command.others), "names": names, "swapped": swapped}
    atomic_write(command.out / "key.json", json.dumps(key, indent=1).encode())


def sheet(pairs: list[tuple[str, Path, Path]], first: int) -> Image.Image:
    """Return one picture of pairs, numbered from `first` + 1 on: four views of the left, and of the right."""
    height = SIDE + runs.LINE + 2
    grid = Image.new("RGB", (8 * SIDE + runs.LINE, len(pairs) * height), "white")
    draw = ImageDraw.Draw(grid)
    for row, (name, *paths) in enumerate(pairs):
        draw.text((4, row * height + 1), f"{first + row + 1}. {name}", fill="black")
        for column, path in enumerate(paths):
            left = column * (4 * SIDE + runs.LINE)
            for index, view in enumerate(views(path)):
                grid.paste(view, (left + index * SIDE, row * height + runs.LINE + 2))
    return grid


def views(path: Path) -> list[Image.Image]:
    """Return a run from front, side, back and other side."""
    picture = Image.open(path / "contact_sheet.png").convert("RGB")
    side = picture.width // 4
    corners = [(index % 4 * side, index // 4 * side) for index in (0, 2, 4, 6)]
    return [picture.crop((x, y, x + side, y + side)).resize((SIDE, SIDE)) for x, y in corners]


def count(command: Count) -> None:
    """Say how often each folder was preferred, and where."""
    key = json.loads((command.folder / "key.json").read_text())
    if len(command.answers) != len(key["names"]) or set(command.answers) - set(ANSWERS):
        raise SystemExit(f"{len(key['names'])} letters are needed, each of {ANSWERS}; {len(command.answers)} are given")
    preferred: dict[str, list[str]] = {key["ours"]: [], key["others"]: [], "neither": []}
    for name, swap, answer in zip(key["names"], key["swapped"], command.answers, strict=True):
        ours = (answer == "r") if swap else (answer == "l")
        preferred["neither" if answer == "=" else key["ours"] if ours else key["others"]].append(name)
    for folder, names in preferred.items():
        print(f"{folder}: {len(names)} of {len(key['names'])}: {', '.join(names)}")


if __name__ == "__main__":
    main()
