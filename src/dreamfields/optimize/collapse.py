"""Collapse: telling early that an attempt will come to nothing.

A field can fade away, swell to fill the cube, or sit in a poor optimum whose score no longer rises. Each is seen in two
running means that cost nothing, and is cured by starting again from another derived seed.
"""

from dataclasses import dataclass, replace
from enum import Enum

from dreamfields.optimize.settings import CollapseSettings


class Verdict(Enum):
    """Why an attempt is given up; the value is said to the user."""

    EMPTY = "the object faded away"
    FULL = "the object filled the whole scene"
    STUCK = "the score did not rise"


@dataclass(frozen=True)
class Watch:
    """Running means over an attempt."""

    score: float = 0.0
    opacity: float = 0.0
    first_score: float = 0.0
    """The score's running mean when the watch began to count."""
    steps: int = 0


def observe(watch: Watch, score: float, opacity: float, settings: CollapseSettings) -> Watch:
    """Return the watch after one more step; the first steps count as a plain mean, later ones as a decaying one."""
    steps = watch.steps + 1
    rate = max(1.0 / steps, 1.0 - settings.memory)
    mean_score = watch.score + rate * (score - watch.score)
    mean_opacity = watch.opacity + rate * (opacity - watch.opacity)
    first = mean_score if steps <= settings.warm_up else watch.first_score
    return replace(watch, score=mean_score, opacity=mean_opacity, first_score=first, steps=steps)


def diagnose(watch: Watch, total_steps: int, settings: CollapseSettings) -> Verdict | None:
    """Return why the attempt should be given up, or None; nothing is said before enough of the steps are done."""
    if watch.steps < max(settings.warm_up + 1, round(settings.look_from * total_steps)):
        return None
    if watch.opacity < settings.empty_below:
        return Verdict.EMPTY
    if watch.opacity > settings.full_above:
        return Verdict.FULL
    looked_long = watch.steps == max(settings.warm_up + 1, round(settings.stuck_at * total_steps))
    if looked_long and watch.score - watch.first_score < settings.stuck_gain:
        return Verdict.STUCK
    return None
