"""Wordings by azimuth: what a prompt is called from the front, the side and the back, and how much each counts there.

::

    azimuth prompt = where ":" wording
    where          = "front" | "side" | "back" | degrees

In a wording {} stands for the prompt. `side` is both sides. Nothing here imports torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dreamfields.errors import UsageError
from dreamfields.settings import Range

_NAMED: Final = {"front": (0.0,), "side": (90.0, 270.0), "back": (180.0,)}
_DEGREES: Final = Range(-360.0, 360.0)


@dataclass(frozen=True)
class AzimuthPrompt:
    """A wording and the azimuth at which it counts alone."""

    azimuth_deg: float
    """In [0, 360)."""
    wording: str
    """{} stands for the prompt."""


ANYWHERE: Final = (AzimuthPrompt(0.0, "{}"),)
"""The prompt itself, from every side."""


def parse_azimuth_prompts(texts: Sequence[str]) -> tuple[AzimuthPrompt, ...]:
    """Return the views that azimuth prompts name, by rising azimuth; `ANYWHERE` for none.

    Raises:
        UsageError: one cannot be read, has no place for the prompt, or an azimuth is named twice.
    """
    views = sorted((view for text in texts for view in _parse(text)), key=lambda view: view.azimuth_deg)
    azimuths = [view.azimuth_deg for view in views]
    twice = next((one for one, other in pairwise(azimuths) if one == other), None)
    if twice is not None:
        raise UsageError(f"azimuth_prompts name {twice:g} degrees twice; say what it is called there once")
    return tuple(views) or ANYWHERE


def azimuth_weights(azimuth_deg: float, anchors_deg: Sequence[float]) -> tuple[float, ...]:
    """Return how much each of k wordings counts at an azimuth: k numbers from 0 to 1 whose sum is 1.

    A share t of the way from one anchor to the next, these two count cos^2(pi t / 2) and sin^2(pi t / 2), all others
    nothing: smooth all around, flat at every anchor. One alone counts everywhere.

    Args:
        azimuth_deg: where the picture is taken from; any number of turns.
        anchors_deg: where each wording counts alone, rising, in [0, 360).
    """
    past = [(azimuth_deg - anchor) % 360.0 for anchor in anchors_deg]
    before = past.index(min(past))
    after = (before + 1) % len(past)
    gap = (anchors_deg[after] - anchors_deg[before]) % 360.0 or 360.0
    risen = math.sin(0.5 * math.pi * past[before] / gap) ** 2
    weights = [0.0] * len(past)
    weights[before] += 1.0 - risen
    weights[after] += risen
    return tuple(weights)


def _parse(text: str) -> list[AzimuthPrompt]:
    where, _, wording = (part.strip() for part in text.partition(":"))
    azimuths = _NAMED.get(where.lower()) or _degrees(where)
    if azimuths is None or "{}" not in wording:
        raise UsageError(
            f"azimuth_prompts hold {text[:80]!r}; each must be WHERE:WORDING, with front, side, back or degrees "
            f"{_DEGREES} as WHERE and {{}} in the wording where the prompt goes"
        )
    return [AzimuthPrompt(azimuth, wording) for azimuth in azimuths]


def _degrees(where: str) -> tuple[float] | None:
    """Return the azimuth in [0, 360) that a number of degrees says; None where it is no such number."""
    try:
        degrees = float(where)
    except ValueError:
        return None
    # Twice, for the rest of a very small negative number rounds to 360.
    return (degrees % 360.0 % 360.0,) if degrees in _DEGREES else None
