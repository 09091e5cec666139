"""Prompts that depend on the azimuth: a wording for the front, the side and the back, blended in between.

::

    azimuth prompt = where ":" wording
    where          = "front" | "side" | "back" | degrees

In a wording {} stands for the prompt; `side` means both sides. Nothing here imports torch.
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
    """A wording and the azimuth at which its weight is 1."""

    azimuth_deg: float  # In [0, 360)
    wording: str  # {} stands for the prompt


ANYWHERE: Final = (AzimuthPrompt(0.0, "{}"),)  # The prompt itself at every azimuth


def parse_azimuth_prompts(texts: Sequence[str]) -> tuple[AzimuthPrompt, ...]:
    """Return azimuth prompts by rising azimuth; `ANYWHERE` for none.

    Raises UsageError: one cannot be parsed, has no {}, or an azimuth is named twice.
    """
    prompts = sorted((prompt for text in texts for prompt in _parse(text)), key=lambda prompt: prompt.azimuth_deg)
    azimuths = [prompt.azimuth_deg for prompt in prompts]
    twice = next((one for one, other in pairwise(azimuths) if one == other), None)
    if twice is not None:
        raise UsageError(f"azimuth_prompts name {twice:g} degrees twice; say what it is called there once")
    return tuple(prompts) or ANYWHERE


def azimuth_weights(azimuth_deg: float, anchors_deg: Sequence[float]) -> tuple[float, ...]:
    """Return the weights of k wordings at an azimuth, in [0, 1] with sum 1.

    At a fraction t of the way from one anchor to the next, these two have weights cos^2(pi t / 2) and sin^2(pi t / 2),
    all others 0: smooth all around, flat at every anchor.

    Args:
        azimuth_deg: of the camera; any number of turns.
        anchors_deg: where the weight of each wording is 1, rising, in [0, 360).
    """
    beyond = [(azimuth_deg - anchor) % 360.0 for anchor in anchors_deg]
    before = beyond.index(min(beyond))
    after = (before + 1) % len(beyond)
    gap = (anchors_deg[after] - anchors_deg[before]) % 360.0 or 360.0
    blend = math.sin(0.5 * math.pi * beyond[before] / gap) ** 2
    weights = [0.0] * len(beyond)
    weights[before] += 1.0 - blend
    weights[after] += blend
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
    """Return a number of degrees as an azimuth in [0, 360); None where it is no number in range."""
    try:
        degrees = float(where)
    except ValueError:
        return None
    # Twice, because the remainder of a tiny negative number rounds to 360.
    return (degrees % 360.0 % 360.0,) if degrees in _DEGREES else None
