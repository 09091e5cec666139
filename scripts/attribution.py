"""Write who made the 3D models that adapters were trained on: python scripts/attribution.py FOLDER OUT.md.

FOLDER holds `models.jsonl`. Models under CC BY are named one by one with their author, as the licence asks; of those
under CC0 the sources are.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from dreamfields.storage import atomic_write
from dreamfields.train.shapes import ROWS, held_out


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
    named, free = defaultdict[tuple[str, str, str], list[str]](list), defaultdict[str, set[str]](set)
    for row in rows:
        if row["licence"].startswith("CC0"):
            free[row["source"]].add(row["author"])
        else:
            named[row["author"], row["licence"], row["source"]].append(row["name"])
    lines = ["# Whose 3D models the adapters were trained on", ""]
    lines += ["No model is part of the package; pictures of them taught its adapters.", ""]
    lines += ["## Creative Commons Attribution", ""]
    for (author, licence, source), names in sorted(named.items(), key=lambda item: (item[0][0].lower(), item[0])):
        lines.append(f"* {author} ({licence}, from {source}): {', '.join(sorted(set(names)))}")
    lines += ["", "## CC0", ""]
    lines += [f"* {source}: {', '.join(sorted(authors))}" for source, authors in sorted(free.items())]
    return [*lines, ""]


if __name__ == "__main__":
    main()
