"""Prompts: their normal form, the sentences that a template makes of them, and wordings that depend on the azimuth.

::

    azimuth prompt = where ":" wording
    where          = "front" | "side" | "back" | degrees

In a wording {} stands for the prompt; `side` means both sides. Nothing here imports torch.
"""

import math
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dreamfields.errors import UsageError
from dreamfields.settings import Range

LONGEST = 2000  # Characters of the longest prompt
SIDES: Final = {"front": (0.0,), "side": (90.0, 270.0), "back": (180.0,)}
"""What a camera sees of a thing that has a front, and from which azimuths in degrees."""
_DEGREES: Final = Range(-360.0, 360.0)


@dataclass(frozen=True)
class AzimuthPrompt:
    """A wording, in which {} stands for the prompt, and the azimuth in [0, 360) at which its weight is 1."""

    azimuth_deg: float
    wording: str


ANYWHERE: Final = (AzimuthPrompt(0.0, "{}"),)  # The prompt itself at every azimuth


def clean_prompt(prompt: str) -> str:
    """Return a prompt in its normal form: NFC, one line, no control characters, no outer space.

    Raises UsageError: nothing readable is left, it is too long, or it holds a lone surrogate or NUL.
    """
    if not (cleaned := clean_text(prompt, "the prompt")):
        raise UsageError('the prompt is empty; say what to make, for example: dreamfields generate "a teapot"')
    return cleaned


def clean_text(text: str, name: str) -> str:
    """Return a text in the normal form of prompts, "" if nothing readable is left; errors call it by its name.

    Raises UsageError: it is too long, or holds a lone surrogate or NUL.
    """
    if any(unicodedata.category(character) == "Cs" or character == "\0" for character in text):
        raise UsageError(f"{name} holds a character that is not text; type it again in plain letters")
    spaced = "".join(" " if character.isspace() else character for character in text)
    readable = "".join(character for character in spaced if unicodedata.category(character) != "Cc")
    # Composed last: a control character may have stood between a letter and its accent.
    cleaned = " ".join(unicodedata.normalize("NFC", readable).split())
    if len(cleaned) > LONGEST:
        raise UsageError(f"{name} has {len(cleaned)} characters; at most {LONGEST} are allowed, so shorten it")
    return cleaned


def is_unreadable(text: str, unknown: Collection[str]) -> bool:
    """Tell whether a text has words, and all of them are unknown; signs without a letter or digit are no words."""
    return bool(unknown) and not any(any(map(str.isalnum, word)) for word in text.split() if word not in unknown)


def fill_template(template: str, prompt: str) -> str:
    """Return the template with the prompt, without its final dot, in place of "{}"."""
    return template.replace("{}", prompt.rstrip("."))


def wordings(template: str) -> tuple[str, ...]:
    """Return the wordings of a template, which "|" separates; their embeddings are averaged."""
    return tuple(wording.strip() for wording in template.split("|"))


def fill_wordings(template: str, prompt: str) -> tuple[str, ...]:
    """Return each wording of a template, filled with the prompt."""
    return tuple(fill_template(wording, prompt) for wording in wordings(template))


def view_of(side: str, subject: str) -> str:
    """Return the sentence that adapters learn, and judges are asked, for a view of one of the `SIDES` of a subject."""
    return f"{side} view of {subject}"


def sides_seen(azimuth_deg: float) -> tuple[float, ...]:
    """Return how much of each of the `SIDES` is seen at an azimuth (any number of turns): in [0, 1] with sum 1."""
    anchors = sorted(anchor for azimuths in SIDES.values() for anchor in azimuths)
    weights = dict(zip(anchors, azimuth_weights(azimuth_deg, anchors), strict=True))
    return tuple(sum(weights[azimuth] for azimuth in azimuths) for azimuths in SIDES.values())


def side_sentences(subject: str) -> tuple[str, ...]:
    """Return a subject, without its final dot, seen from each of the `SIDES`; the first is the front."""
    return tuple(view_of(side, subject.rstrip(".")) for side in SIDES)


def parse_azimuth_prompts(texts: Sequence[str]) -> tuple[AzimuthPrompt, ...]:
    """Return azimuth prompts by rising azimuth; `ANYWHERE` for none.

    Raises UsageError: one cannot be parsed, has no {}, or an azimuth is named twice.
    """
    prompts = sorted((prompt for text in texts for prompt in _parse(text)), key=lambda prompt: prompt.azimuth_deg)
    for one, other in pairwise(prompts):
        if one.azimuth_deg == other.azimuth_deg:
            raise UsageError(f"azimuth_prompts name {one.azimuth_deg:g} degrees twice; give one wording for it")
    return tuple(prompts) or ANYWHERE


def azimuth_weights(azimuth_deg: float, anchors_deg: Sequence[float]) -> tuple[float, ...]:
    """Return the weights of k wordings at an azimuth (any number of turns), in [0, 1] with sum 1.

    `anchors_deg` are the azimuths at which the weight of each wording is 1, rising, in [0, 360). At a fraction t of the
    way from one anchor to the next, these two have weights cos^2(pi t / 2) and sin^2(pi t / 2), all others 0.
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
    azimuths = SIDES.get(where.lower()) or _degrees(where)
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
