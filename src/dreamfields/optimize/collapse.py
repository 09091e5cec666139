"""Collapse: early signs that an attempt will fail, read from running means of the score and the opacity.

A field can become empty, fill the whole cube, or stop improving; the loop then restarts from another derived seed.
"""

from dataclasses import dataclass
from enum import Enum

from dreamfields.optimize.settings import CollapseSettings


class Verdict(Enum):
    """Why an attempt is given up; the value is shown to the user."""

    EMPTY = "the object faded away"
    FULL = "the object filled the whole scene"
    STUCK = "the score did not rise"


@dataclass(frozen=True)
class RunningMeans:
    """Running means over an attempt."""

    score: float = 0.0
    opacity: float = 0.0
    first_score: float = 0.0  # The score's running mean at the end of the warm-up
    steps: int = 0


def observe(means: RunningMeans, score: float, opacity: float, settings: CollapseSettings) -> RunningMeans:
    """Return the means after one more step: a plain mean at first, then one that decays by `memory` a step."""
    steps = means.steps + 1
    rate = max(1.0 / steps, 1.0 - settings.memory)
    mean_score = means.score + rate * (score - means.score)
    first = mean_score if steps <= settings.warm_up else means.first_score
    return RunningMeans(mean_score, means.opacity + rate * (opacity - means.opacity), first, steps)


def diagnose(means: RunningMeans, total_steps: int, settings: CollapseSettings) -> Verdict | None:
    """Return why to give up the attempt, or None; always None before `look_from` and in the warm-up."""
    if means.steps < max(settings.warm_up + 1, round(settings.look_from * total_steps)):
        return None
    if means.opacity < settings.empty_below:
        return Verdict.EMPTY
    if means.opacity > settings.full_above:
        return Verdict.FULL
    is_time = means.steps == max(settings.warm_up + 1, round(settings.stuck_at * total_steps))
    return Verdict.STUCK if is_time and means.score - means.first_score < settings.stuck_gain else None
