"""Reading metrics.jsonl, which has a line for each step; lines torn by a crash are skipped."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from dreamfields.storage import refusals

_STEPS: Final = 20
_TAIL_BYTES: Final = 16_384  # More than so many steps take


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the values of each step, by the names of `Step`; none without a file.

    Raises StorageError: the system refuses.
    """
    with refusals(path):
        if not path.is_file():
            return []
        return list(_steps(path.read_bytes().splitlines()))


def last_score(path: Path) -> float | None:
    """Return the mean score of the last 20 steps, at most; None without any."""
    scores = [score for line in _tail(path) if (score := _score(line)) is not None]
    return fmean(scores[-_STEPS:]) if scores else None


def last_index(path: Path) -> int | None:
    """Return how many steps of the present attempt are done; None if it is not known."""
    indices = [int(step["index"]) for step in _steps(_tail(path))]
    return indices[-1] if indices else None


def _tail(path: Path) -> list[bytes]:
    """Return the last lines, the first of them perhaps torn; none if they cannot be read."""
    try:
        if not path.is_file():
            return []
        with path.open("rb") as file:
            file.seek(-min(_TAIL_BYTES, path.stat().st_size), 2)
            return file.read().splitlines()
    except OSError:
        return []


def _steps(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield what each line says of a step; one that is torn, or written by another program, is skipped."""
    for line in lines:
        try:
            values = json.loads(line.decode(errors="replace"))
            if isinstance(values["attempt"], int) and isinstance(values["index"], int):
                yield values
        except (ValueError, KeyError, TypeError, RecursionError):
            continue


def _score(line: bytes) -> float | None:
    """Return the score in a line; None if it is torn or holds none."""
    try:
        score = json.loads(line)["score"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return float(score) if isinstance(score, (int, float)) and abs(score) < 1e12 else None
