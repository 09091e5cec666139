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
class RunningMeans:
    """Running means over an attempt."""

    score: float = 0.0
    opacity: float = 0.0
    first_score: float = 0.0
    """The score's running mean when the watch began to count."""
    steps: int = 0


def observe(running_means: RunningMeans, score: float, opacity: float, settings: CollapseSettings) -> RunningMeans:
    """Return the watch after one more step; the first steps count as a plain mean, later ones as a decaying one."""
    steps = running_means.steps + 1
    rate = max(1.0 / steps, 1.0 - settings.memory)
    mean_score = running_means.score + rate * (score - running_means.score)
    mean_opacity = running_means.opacity + rate * (opacity - running_means.opacity)
    first = mean_score if steps <= settings.warm_up else running_means.first_score
    return replace(running_means, score=mean_score, opacity=mean_opacity, first_score=first, steps=steps)


def diagnose(running_means: RunningMeans, total_steps: int, settings: CollapseSettings) -> Verdict | None:
    """Return why the attempt should be given up, or None; nothing is said before enough of the steps are done."""
    if running_means.steps < max(settings.warm_up + 1, round(settings.look_from * total_steps)):
        return None
    if running_means.opacity < settings.empty_below:
        return Verdict.EMPTY
    if running_means.opacity > settings.full_above:
        return Verdict.FULL
    looked_long = running_means.steps == max(settings.warm_up + 1, round(settings.stuck_at * total_steps))
    if looked_long and running_means.score - running_means.first_score < settings.stuck_gain:
        return Verdict.STUCK
    return None
