"""Which of two objects of a prompt is better, to an eye that does not know how either was made?

python benchmarks/blind.py show RUNS OTHERS --out FOLDER
python benchmarks/blind.py count FOLDER lr=rl...

`show` draws the runs that two folders both have, one left and one right by chance, on sheets `pairs_1.webp` and so on,
and keeps apart in `key.json` which is which; do not open that. Then write down a letter for each pair: l, r, or = where
neither is better. `count` looks into the key and says how often each folder was preferred.
"""

import json
import secrets
from pathlib import Path

import tyro
from PIL import Image, ImageDraw

from dreamfields.storage import atomic_write

import runs

PAIRS = 8
"""On a sheet."""
SIDE = 192
"""Pixels a side of a view."""
SIDES = (0, 2, 4, 6)
"""Front, side, back and other side, of the eight views of a contact sheet."""
ANSWERS = "lr="


def main() -> None:
    """Draw or count."""
    tyro.extras.subcommand_cli_from_dict({"show": show, "count": count}, description=__doc__)


def show(ours: tyro.conf.Positional[Path], others: tyro.conf.Positional[Path], out: Path = Path("blind")) -> None:
    """Draw the pairs of two folders of runs: sheets and the key."""
    names = sorted(path.parent.name for path in ours.glob("*/contact_sheet.png"))
    names = [name for name in names if (others / name / "contact_sheet.png").exists()]
    if not names:
        raise SystemExit(f"no run is in both {ours} and {others}")
    swapped = [secrets.randbelow(2) == 1 for _ in names]
    pairs = [
        (name, *(path / name for path in ((others, ours) if swap else (ours, others))))
        for name, swap in zip(names, swapped, strict=True)
    ]
    for first in range(0, len(pairs), PAIRS):
        picture = sheet(pairs[first : first + PAIRS], first)
        atomic_write(out / f"pairs_{first // PAIRS + 1}.webp", runs.webp(picture))
    key = {"ours": str(ours), "others": str(others), "names": names, "swapped": swapped}
    atomic_write(out / "key.json", json.dumps(key, indent=1).encode())


def sheet(pairs: list[tuple[str, Path, Path]], first: int) -> Image.Image:
    """Return one picture of pairs, numbered from `first` + 1 on: four views of the left, and of the right."""
    height = SIDE + runs.LINE + 2
    grid = Image.new("RGB", (8 * SIDE + runs.LINE, len(pairs) * height), "white")
    draw = ImageDraw.Draw(grid)
    for row, (name, *paths) in enumerate(pairs):
        draw.text((4, row * height + 1), f"{first + row + 1}. {name}", fill="black")
        for column, path in enumerate(paths):
            left = column * (4 * SIDE + runs.LINE)
            for index, view in enumerate(runs.views(path, SIDES)):
                grid.paste(view.resize((SIDE, SIDE)), (left + index * SIDE, row * height + runs.LINE + 2))
    return grid


def count(folder: tyro.conf.Positional[Path], answers: tyro.conf.Positional[str]) -> None:
    """Say how often each folder was preferred, and where, given a letter for each pair in order."""
    key = json.loads((folder / "key.json").read_text())
    if len(answers) != len(key["names"]) or set(answers) - set(ANSWERS):
        raise SystemExit(f"{len(key['names'])} letters are needed, each of {ANSWERS}; {len(answers)} are given")
    preferred: dict[str, list[str]] = {key["ours"]: [], key["others"]: [], "neither": []}
    for name, swap, answer in zip(key["names"], key["swapped"], answers, strict=True):
        ours = (answer == "r") if swap else (answer == "l")
        preferred["neither" if answer == "=" else key["ours"] if ours else key["others"]].append(name)
    for chosen, names in preferred.items():
        print(f"{chosen}: {len(names)} of {len(key['names'])}: {', '.join(names)}")


if __name__ == "__main__":
    main()
