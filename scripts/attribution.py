"""Write who made the 3D models that adapters were trained on: python scripts/attribution.py FOLDER OUT.md.

FOLDER holds `models.jsonl`. Models under CC BY are named one by one with their author, as the licence asks; of those
under CC0 the sources are, and for how many of them the licence is known only from what they are: they are recognised as
packs that their authors publish under CC0, while the place where they were found says nothing.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Final

from dreamfields.storage import atomic_write
from dreamfields.train.shapes import ROWS, held_out

LICENCES: Final = {
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-3.0-US": "https://creativecommons.org/licenses/by/3.0/us/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}


def main() -> None:
    """Read the rows and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in (arguments.folder / ROWS).read_text(encoding="utf-8").splitlines()]
    trained = [row for row in rows if not held_out(row["name"])]
    atomic_write(arguments.out, "\n".join(page(trained)).encode())


def page(rows: list[dict[str, str]]) -> list[str]:
    """Return the lines of the page."""
    named, free = defaultdict[tuple[str, str, str], list[str]](list), defaultdict[str, list[dict[str, str]]](list)
    for row in rows:
        if row["licence"].startswith("CC0"):
            free[row["source"]].append(row)
        else:
            named[row["author"], row["licence"], row["source"]].append(row["name"])
    lines = ["# Whose 3D models the adapters were trained on", ""]
    lines += [
        f"{len(rows)} models. None is part of the package; renderings of them, some repainted, taught its adapters."
    ]
    lines += ["", "## Licences", ""]
    lines += [f"* {licence}: {LICENCES[licence]}" for licence in sorted({row["licence"] for row in rows})]
    lines += ["", "## Creative Commons Attribution", ""]
    for (author, licence, source), names in sorted(named.items(), key=lambda item: (item[0][0].lower(), item[0])):
        lines.append(f"* {author} ({licence}, from {source}): {', '.join(sorted(set(names)))}")
    lines += ["", "## CC0", ""]
    lines += [_source(source, models) for source, models in sorted(free.items())]
    return [*lines, ""]


def _source(source: str, models: list[dict[str, str]]) -> str:
    recognised = sum(model["licence_basis"] == "identified" for model in models)
    note = f"; the licence of {recognised} of {len(models)} is that of the packs they are recognised as"
    return f"* {source}: {', '.join(sorted({model['author'] for model in models}))}{note if recognised else ''}"


if __name__ == "__main__":
    main()
